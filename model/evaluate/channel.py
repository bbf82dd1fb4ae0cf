"""Motion over a call's channel: the real encoder and decoder, answers after a round trip, messages that get lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.packet import MAX_FRAMES
from model.codec.rate import HEADER_BYTES, Rate
from model.codec.statistics import MotionStatistics

FPS = 25
ROUND_TRIP_MS = 100
ANSWER_EVERY_MS = 500
"""Between two acknowledgements on the data channel, each of which has a SACK."""

VOICE_EVERY_MS = 60
VOICE_AT_MS = 10
"""Packets of the voice: between two, and the first after the first frame; so a frame waits 30 ms in the mean."""

VOICE_ANSWER_EVERY_MS = 170
"""Between two acknowledgements of what came behind the voice."""


@dataclass(frozen=True)
class Sent:
    """Motion after the channel."""

    vectors: NDArray[np.float32]  # (T, 139 + 3K) as the receiver decodes them
    messages: tuple[int, ...]  # payload bytes of each

    def kbps(self) -> float:
        """Payload in kbit/s at 25 frames a second."""
        return sum(self.messages) * 8 * FPS / len(self.vectors) / 1000

    def kbps_wire(self) -> float:
        """With the headers of every message, sender to receiver."""
        return (sum(self.messages) + HEADER_BYTES * len(self.messages)) * 8 * FPS / len(self.vectors) / 1000


def send(
    statistics: MotionStatistics,
    vectors: NDArray[np.float32],
    rate: Rate,
    loss: float = 0.0,
    *,
    behind_voice: bool = False,
) -> Sent:
    """Motion vectors (T, 139 + 3K) through encoder and decoder, with acknowledgements as in a call.

    loss   share of messages that never arrive, chosen by a generator of fixed seed; the first one does
    behind_voice   what waits becomes one message when a packet of the voice leaves; else the rate says how many frames
    A frame that is lost, or that the rate leaves out, repeats the one before.
    """
    random = np.random.default_rng(0)
    answer_every_ms = VOICE_ANSWER_EVERY_MS if behind_voice else ANSWER_EVERY_MS
    if behind_voice:
        rate = replace(rate, frames_per_message=MAX_FRAMES - rate.repeat)
    encoder, decoder = MotionEncoder(statistics, rate, epoch=0), MotionDecoder(statistics)
    decoded: dict[int, NDArray[np.float32]] = {}
    messages: list[int] = []
    answers: list[tuple[float, bytes]] = []  # (arrival, acknowledgement), oldest first
    answered_ms = -math.inf

    def deliver(message: bytes, now_ms: float) -> None:
        nonlocal answered_ms
        messages.append(len(message))
        if random.random() < loss and decoded:
            return
        for frame in decoder.decode(message):
            decoded[frame.capture_ms] = frame.vector
        answer = decoder.acknowledgement()
        if answer is not None and now_ms - answered_ms >= answer_every_ms:
            answered_ms = now_ms
            answers.append((now_ms + ROUND_TRIP_MS, answer))

    times = [round(i * 1000 / FPS) for i in range(len(vectors))]
    voice_ms = VOICE_AT_MS
    for now_ms, vector in zip(times, vectors, strict=True):
        while behind_voice and voice_ms < now_ms:
            if (message := encoder.flush()) is not None:
                deliver(message, voice_ms)
            voice_ms += VOICE_EVERY_MS
        while answers and answers[0][0] <= now_ms:
            encoder.on_acknowledgement(answers.pop(0)[1])
        if (message := encoder.encode(vector, now_ms)) is not None:
            deliver(message, now_ms)
    if (message := encoder.flush()) is not None:
        deliver(message, times[-1])
    received: list[NDArray[np.float32]] = []
    for now_ms in times:
        received.append(decoded[now_ms] if now_ms in decoded else received[-1])
    return Sent(np.stack(received), tuple(messages))
