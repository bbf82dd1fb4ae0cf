"""Who talks in the calls of both network benches: the built-in talker's motion with a synthesised voice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.description import Profile
from model.errors import VisavisError
from model.talking_head import TalkingHead
from server.benchmark.network.figures import Spoken
from server.benchmark.speech import RATE, speak
from server.sender.build import DEFAULT_FPS
from server.sender.connection.access import Access
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.inputs import PORTRAIT
from server.sender.media.recording import Recording, RecordingFeed, read_recording
from server.sender.media.sound import PIECE_SAMPLES, PIECE_SECONDS, OpusWriter, SoundQueue, VoicePackets
from server.settings import load_settings

KBPS = 25.0
"""Budget of the motion."""

TALK, PAUSE = 6.0, 1.0
"""Seconds that the voice speaks, and that it is silent, in turn."""

_LAP = 28.0
"""Seconds of voice that are synthesised once."""


@dataclass
class Materials:
    """What does not change from call to call; costs some seconds to make."""

    profile: Profile
    statistics: MotionStatistics
    weights: str  # SHA-256, hexadecimal
    recording: Recording
    voice: NDArray[np.int16]  # (N,) 48 kHz

    @staticmethod
    def load() -> Materials:
        """Of the embedded model and talker."""
        model = TalkingHead.load(engine="torch", threads=1)
        times = np.arange(0.0, _LAP, 0.04)
        opening = np.abs(np.sin(times * 22.5)) * (times % (TALK + PAUSE) < TALK)
        voice = np.round(speak(opening, 25.0) * 32767).astype(np.int16)
        recording = read_recording(PORTRAIT, model.statistics, model.weights_hash)
        return Materials(model.profile, model.statistics, model.weights_hash, recording, voice)


@dataclass
class CallLog:
    """What was sent."""

    spoken: list[Spoken] = field(default_factory=list)


class SpokenFeed:
    """The talker's motion with a synthesised voice, encoded as a microphone's. A `Feed`."""

    def __init__(self, materials: Materials, listener: FeedListener, clock: Callable[[], float], log: CallLog) -> None:
        self._motion = RecordingFeed(materials.recording, listener, fps=DEFAULT_FPS, clock=clock, sound=False)
        self.sound: SoundQueue | None = SoundQueue(asyncio.get_running_loop())
        self._voice = materials.voice
        self._clock = clock
        self._log = log
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        return self._motion.dropped

    def start(self) -> None:
        self._motion.start()
        self._task = asyncio.create_task(self._speak(), name="visavis-voice")

    def source_taken(self, index: int) -> None:
        self._motion.source_taken(index)

    def source_refused(self, index: int, error: VisavisError) -> None:
        self._motion.source_refused(index, error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._motion.close()

    async def _speak(self) -> None:
        assert self.sound is not None
        voice = VoicePackets(OpusWriter())
        begin, count = self._clock(), 0
        pieces = self._voice[: self._voice.size // PIECE_SAMPLES * PIECE_SAMPLES].reshape(-1, PIECE_SAMPLES)
        while True:
            count += 1
            await asyncio.sleep(max(0.0, begin + count * PIECE_SECONDS - self._clock()))
            for packet in voice.add(pieces[(count - 1) % len(pieces)], self.sound.order):
                if not packet.silent:
                    captured = begin + packet.start / RATE
                    self._log.spoken.append(Spoken(captured, packet.samples // PIECE_SAMPLES, packet.data))
                self.sound.put(packet)


def talking_daemon(
    materials: Materials, address: str, room: str, clock: Callable[[], float], seed: int, log: CallLog | None
) -> Daemon:
    """A daemon that publishes the talker into a room; with a voice where there is a `log` for it."""

    def make_feed(listener: FeedListener) -> Feed:
        if log is None:
            return RecordingFeed(materials.recording, listener, fps=DEFAULT_FPS, clock=clock, sound=False)
        return SpokenFeed(materials, listener, clock, log)

    return Daemon(
        Destination(address, room, "Talker"),
        Access(address, room, None, load_settings()),
        make_feed,
        lambda: MotionEncoder(materials.statistics, Rate.for_kbps(KBPS)),
        weights=materials.weights,
        clock=clock,
        chance=random.Random(seed).random,
    )
