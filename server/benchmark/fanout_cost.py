"""CPU time of a further viewer: packets of one encoder against an encoder for each, over real connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import av
import torch
from aiortc import MediaStreamTrack, RTCPeerConnection

from model.media.colour import rgb_to_yuv420p
from server.benchmark.portrait import moving_frame
from server.benchmark.processes import BenchmarkError, answer_viewer, peer_process
from server.media.aiortc_private import PacketOutlet
from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.encoder import CLOCK_RATE, TIME_BASE
from server.media.picture import Planes, TimedPicture
from server.media.rtp_feedback import BitrateSettings

FPS = 30
BIT_RATE = 500_000
"""What aiortc's own VP8 encoder starts with."""


@dataclass(frozen=True)
class FanoutCost:
    """Share of one core that each viewer beyond the first takes on the server (1.0 = a whole core)."""

    encode_once: float
    encode_each: float


class FrameTrack(MediaStreamTrack):
    """Frames on a fixed grid for one viewer; aiortc encodes them."""

    kind = "video"

    def __init__(self, pictures: list[Planes]) -> None:
        super().__init__()
        self._pictures = pictures
        self.count = 0
        self._start: float | None = None

    async def recv(self) -> av.VideoFrame:
        """The next frame, at its time."""
        if self._start is None:
            self._start = time.monotonic()
        self.count += 1
        await asyncio.sleep(max(0.0, self._start + self.count / FPS - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(self._pictures[self.count % len(self._pictures)], format="yuv420p")
        frame.pts, frame.time_base = self.count * (CLOCK_RATE // FPS), TIME_BASE
        return frame


def pictures(size: int, seconds: int = 4) -> list[Planes]:
    """Some seconds of the moving portrait as YUV planes."""
    frames = [torch.from_numpy(moving_frame(i / FPS, size)).permute(2, 0, 1)[None] for i in range(seconds * FPS)]
    return [rgb_to_yuv420p(frame)[0].numpy() for frame in frames]


async def measure(viewers: int, seconds: float, size: int, progress: Callable[[str], None]) -> FanoutCost:
    """Both ways in one run, with one viewer and with `viewers` of them, `seconds` each."""
    shown = pictures(size)
    progress("encode once")
    once = await _encode_once(viewers, seconds, shown)
    progress("encode for each")
    each = await _encode_each(viewers, seconds, shown)
    return FanoutCost(once, each)


@dataclass(frozen=True)
class _Side:
    """One way of feeding viewers."""

    track: Callable[[], MediaStreamTrack]  # of one more viewer
    bind: Callable[[int, Any, Any], None]  # (viewer, its video sender, its audio sender)
    frames: Callable[[], float]  # frames that each viewer was shown so far


async def _encode_once(viewers: int, seconds: float, shown: list[Planes]) -> float:
    rate = BitrateSettings(maximum=BIT_RATE)
    broadcast = Broadcast(BroadcastSettings(bitrate=rate, fps=FPS), time.monotonic)
    added = itertools.count()

    async def feed() -> None:
        start = time.monotonic()
        for count in itertools.count(1):
            await asyncio.sleep(max(0.0, start + count / FPS - time.monotonic()))
            broadcast.show(0, TimedPicture(shown[count % len(shown)], count * (CLOCK_RATE // FPS)))

    def bind(viewer: int, sender: Any, _audio: Any) -> None:
        # Estimates are left out: the rate stays what it was with one viewer, or less would be sent to each of many.
        PacketOutlet(sender, time.monotonic, lambda: broadcast.request_keyframe(viewer))

    feeding = asyncio.create_task(feed())
    try:
        return await _cost(
            viewers,
            seconds,
            _Side(lambda: broadcast.add(next(added), "VP8", 0, lambda: None), bind, lambda: broadcast.counters.encoded),
        )
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await broadcast.close()


async def _encode_each(viewers: int, seconds: float, shown: list[Planes]) -> float:
    tracks: list[FrameTrack] = []

    def track() -> FrameTrack:
        tracks.append(FrameTrack(shown))
        return tracks[-1]

    return await _cost(
        viewers, seconds, _Side(track, lambda *_: None, lambda: sum(t.count for t in tracks) / len(tracks))
    )


async def _cost(viewers: int, seconds: float, side: _Side) -> float:
    """CPU per viewer beyond the first, at `FPS`. Counted per frame, so that a busy machine does not flatter it."""
    async with peer_process("viewer") as process:
        peers: list[RTCPeerConnection] = []
        try:
            per_frame = []
            for wanted in (1, viewers):
                while len(peers) < wanted:
                    peer, _ = await answer_viewer(process, side.track(), None, partial(side.bind, len(peers)))
                    peers.append(peer)
                async with asyncio.timeout(60):
                    while any(peer.connectionState != "connected" for peer in peers):  # noqa: ASYNC110 - many peers
                        await asyncio.sleep(0.05)
                await asyncio.sleep(2.0)  # first keyframes and rate estimates are over
                used, frames = time.process_time(), side.frames()
                await asyncio.sleep(seconds)
                used, frames = time.process_time() - used, side.frames() - frames
                if frames < 10:
                    raise BenchmarkError("hardly a frame was sent: the machine is too busy to measure")
                per_frame.append(used / frames)
            return FPS * (per_frame[1] - per_frame[0]) / (viewers - 1)
        finally:
            await asyncio.gather(*(peer.close() for peer in peers))
