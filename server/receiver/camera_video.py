"""An ordinary camera track, relayed: decoded once by aiortc, encoded once per codec, as late as its own sound."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from server.media.audio_delay import DelayLine
from server.media.broadcast import Broadcast
from server.media.delayed_release import DelayedRelease
from server.media.encoder import CLOCK_RATE
from server.media.picture import Planes, TimedPicture

MAX_PIXELS = 1280 * 720
"""Larger cameras are scaled down before encoding."""


class CameraVideo:
    """Reads one camera track; pictures wait in a delay line until the sound of the same instant is there."""

    def __init__(self, broadcast: Broadcast, clock: Callable[[], float], fps: float, delay: float) -> None:
        self._broadcast = broadcast
        self._clock = clock
        self._spacing = 0.75 / fps  # a quarter of tolerance for uneven cameras
        line: DelayLine[Planes] = DelayLine(capacity=8)
        line.set_delay(delay)
        self._delayed = DelayedRelease(line, self._release, clock)
        self._origin = clock()
        self._last_at: float | None = None
        self._taken_at = float("-inf")
        self.received = 0

    @property
    def silent_for(self) -> float | None:
        """Seconds since the last picture; None before the first."""
        return None if self._last_at is None else self._clock() - self._last_at

    async def run(self, track: MediaStreamTrack) -> None:
        """Read until the track ends. The track's own queue has no bound, so everything is read, wanted or not."""
        try:
            while True:
                frame = await track.recv()
                if not isinstance(frame, av.VideoFrame):
                    continue
                now = self._clock()
                self.received += 1
                self._last_at = now
                if self._broadcast.viewers and now - self._taken_at >= self._spacing:
                    self._taken_at = now
                    self._delayed.push([_planes(frame)], now)
        except MediaStreamError:
            return
        finally:
            self._delayed.cancel()

    def _release(self, planes: Planes, now: float) -> None:
        picture = TimedPicture(planes, round((now - self._origin) * CLOCK_RATE))
        # A camera has one view, whatever its viewers asked for while it was a face.
        for view in self._broadcast.views():
            self._broadcast.show(view, picture)


def _planes(frame: av.VideoFrame) -> Planes:
    """Planes as in `model.media.colour`, with even sides and at most `MAX_PIXELS`.

    A copy: two encoders must never share one frame object, whose time and type they set.
    """
    scale = min(1.0, (MAX_PIXELS / (frame.width * frame.height)) ** 0.5)
    width, height = (max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height))
    return frame.to_ndarray(width=width, height=height, format="yuv420p").astype(np.uint8, copy=False)
