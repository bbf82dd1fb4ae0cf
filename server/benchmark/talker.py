"""A process that talks: `python -m server.benchmark.talker ENGINE` publishes a portrait that moves, and a tone."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from fractions import Fraction
from typing import cast

import av
import numpy as np
import torch
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.face.crop import whole
from model.graphs.engine import Engine
from model.motion import Motion
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.tracker import MotionTracker
from server.benchmark.latency import load_model
from server.benchmark.peer_lines import lines, offer, tell
from server.benchmark.portrait import moving_frame
from server.sender.media.alignment_rhythm import AlignmentRhythm
from server.sender.media.extractor import ModelExtractor
from server.wire.control import Ping, Pong, SenderStages, parse_control, send_control

FPS = 25
_AUDIO_RATE, _AUDIO_SAMPLES = 48_000, 960


class ToneTrack(MediaStreamTrack):
    """A quiet tone in real time; `origin` is when its first sample was captured."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.origin: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, once they have passed."""
        if self.origin is None:
            self.origin = time.monotonic()
            tell(audio_origin=self.origin)
        self._sent += 1
        await asyncio.sleep(max(0.0, self.origin + self._sent * _AUDIO_SAMPLES / _AUDIO_RATE - time.monotonic()))
        start = (self._sent - 1) * _AUDIO_SAMPLES
        wave = 3000 * np.sin(np.arange(start, start + _AUDIO_SAMPLES) * (2 * np.pi * 440 / _AUDIO_RATE))
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _AUDIO_RATE, start, Fraction(1, _AUDIO_RATE)
        return frame


async def talker(engine: Engine) -> None:
    """Publishes the moving portrait as motion, extracted and aligned as a sender does, and a tone."""
    torch.set_num_threads(1)  # what the laptop of a sender gives
    model, _ = load_model("cpu", engine, 1)
    frames = [moving_frame(i / FPS) for i in range(4 * FPS)]
    extractor = ModelExtractor(model)
    crop = whole(extractor.size)
    _, first = extractor.extract(frames[0], crop)  # compiles
    motion_tracker = MotionTracker(extractor.layout)
    motion_tracker.follow(GreyPyramid(thumbnail(frames[0])), first)
    source = extractor.enrol(frames[0], motion_tracker.reference(GreyPyramid(thumbnail(frames[0])), first)).reference

    reader = await lines()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    motion = peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
    control = peer.createDataChannel("control")
    peer.addTrack(ToneTrack())
    encoder = MotionEncoder(model.statistics, Rate())
    motion.on("message", encoder.on_acknowledgement)

    def answer(data: bytes) -> None:
        message = parse_control(data)
        if isinstance(message, Ping):
            send_control(control, Pong(message.n, message.ms, 1000 * time.monotonic()))

    control.on("message", answer)
    await offer(peer, reader)
    loop = asyncio.get_running_loop()
    end = loop.create_task(reader.read())
    start, number, extracting, encoding = time.monotonic(), 0, 0.0, 0.0
    rhythm = AlignmentRhythm()

    async def align(frame: NDArray[np.uint8], moved: Motion, captured: float) -> None:
        began = time.monotonic()
        await loop.run_in_executor(None, motion_tracker.follow, GreyPyramid(thumbnail(frame)), moved, source)
        rhythm.took(captured, time.monotonic() - began)

    while not end.done():
        number += 1
        await asyncio.sleep(max(0.0, start + number / FPS - time.monotonic()))
        captured = time.monotonic()
        frame = frames[number % len(frames)]
        _, moved = await loop.run_in_executor(None, extractor.extract, frame, crop)
        due = rhythm.due(captured)
        if due and rhythm.quick:
            await align(frame, moved, captured)
            due = False
        vector = motion_tracker.extrapolated(moved, source).to_vector()
        extracted = time.monotonic()
        message = encoder.encode(vector, int(1000 * captured) & 0xFFFFFFFF)
        extracting += extracted - captured
        encoding += time.monotonic() - extracted
        if motion.readyState == "open" and message is not None:
            motion.send(message)
        if due:  # as a sender does: once the frame is on its way
            await align(frame, moved, captured)
        if number % FPS == 0:
            stages = {"capture": 0.0, "extract": 1000 * extracting / FPS, "encode": 1000 * encoding / FPS}
            send_control(control, SenderStages(stages))
            send_control(control, Ping(number, 1000 * time.monotonic()))
            extracting = encoding = 0.0
    await peer.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(talker(cast(Engine, sys.argv[1])))
