"""Decodes a camera on a worker thread for viewers who cannot take its packets: bounded in frames and in pixels."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from server.media.frame_assembly import FrameAssembly
from server.media.media_packet import MediaPacket
from server.media.picture import Planes
from server.media.rtp_payload import KeyframeStart, h264_keyframes, vp8_keyframe

MAX_SIDE = 1920
"""Pixels that a camera's picture may be wide or high."""

MAX_WAITING = 8
"""Frames that may wait for the decoder; more, and everything up to the next keyframe is left out."""

MAX_PIXELS = 1280 * 720
"""Larger pictures are scaled down before they are encoded again."""

_log = logging.getLogger(__name__)


def refusal(start: KeyframeStart) -> str | None:
    """Why pictures of this size are not taken; None when they are."""
    if start.width <= MAX_SIDE and start.height <= MAX_SIDE:
        return None
    return f"pictures of {start.width}x{start.height} are larger than {MAX_SIDE}x{MAX_SIDE}"


@dataclass(frozen=True)
class _Frame:
    codec: str
    data: bytes
    shown: bool  # or only decoded, because later ones need it


class CameraDecoder:
    """Packets in, pictures out by `show(planes)`. All methods belong to one event loop.

    `request_keyframe()` is called when nothing can be decoded before one comes.
    """

    def __init__(
        self,
        show: Callable[[Planes], None],
        request_keyframe: Callable[[], None],
        clock: Callable[[], float],
        spacing: float,
    ) -> None:
        """`spacing`: seconds between pictures that are shown at least."""
        self._show = show
        self._request_keyframe = request_keyframe
        self._clock = clock
        self._spacing = spacing
        self._shown_at = float("-inf")
        self._assembly = FrameAssembly()
        self._waiting: deque[_Frame] = deque()
        self._task: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._decoder: tuple[str, VideoCodecContext] | None = None
        self.decoded = 0
        self.dropped = 0

    def packet(self, packet: MediaPacket, keyframe: bool) -> None:
        """One more packet; `keyframe`: one begins with it."""
        try:
            frames = [frame.data for frame in self._assembly.add(packet, keyframe)]
            for data in frames:
                _check(packet.codec, data)
        except ValueError:
            frames = []
            self._assembly.restart()
        for data in frames:
            self._frame(packet.codec, data)
        if self._assembly.needs_keyframe:
            self._request_keyframe()

    def idle(self) -> None:
        """Nobody needs pictures: leave everything out up to a later keyframe."""
        self._assembly.restart()
        self._waiting.clear()

    async def close(self) -> None:
        """Give the thread back. What it decodes now is one frame of bounded size, and is not waited for on the loop."""
        self._waiting.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _frame(self, codec: str, data: bytes) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += len(self._waiting) + 1
            self._waiting.clear()
            self._assembly.restart()
            return
        now = self._clock()
        shown = now - self._shown_at >= self._spacing
        if shown:
            self._shown_at = now
        self._waiting.append(_Frame(codec, data, shown))
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(1, thread_name_prefix="video-decoder")
                frame = self._waiting.popleft()
                try:
                    planes = await loop.run_in_executor(self._pool, self._decode, frame)
                except av.FFmpegError as error:
                    _log.warning("a camera's frame cannot be decoded: %s", error)
                    self._assembly.restart()
                    self._request_keyframe()
                    continue
                self.decoded += 1
                if planes is not None:
                    self._show(planes)
        finally:
            self._task = None

    def _decode(self, frame: _Frame) -> Planes | None:
        """On the worker thread, one call at a time."""
        if self._decoder is None or self._decoder[0] != frame.codec:
            context = av.CodecContext.create("libvpx" if frame.codec == "VP8" else "h264", "r")
            assert isinstance(context, VideoCodecContext)
            context.thread_count = 1
            self._decoder = frame.codec, context
        pictures = self._decoder[1].decode(av.Packet(frame.data))
        return _planes(pictures[-1]) if pictures and frame.shown else None


def _check(codec: str, data: bytes) -> None:
    """Raise ValueError for a frame of larger pictures, whatever packets it came in."""
    starts = [vp8_keyframe(data)] if codec == "VP8" else h264_keyframes(data)
    for start in starts:
        if start is not None and (reason := refusal(start)) is not None:
            raise ValueError(reason)


def _planes(frame: av.VideoFrame) -> Planes:
    """Planes as in `model.media.colour`, with even sides and at most `MAX_PIXELS`.

    A copy: two encoders must never share one frame object, whose time and type they set.
    """
    scale = min(1.0, (MAX_PIXELS / (frame.width * frame.height)) ** 0.5)
    width, height = (max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height))
    return frame.to_ndarray(width=width, height=height, format="yuv420p").astype(np.uint8, copy=False)
