"""The pictures of a recorded call, tile by tile: motion that is to be rendered, and films of cameras."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.clip.decoder import enrolled, with_windows
from model.codec.decoder import MotionDecoder
from model.codec.statistics import MotionStatistics
from model.codec.vav import Vav
from model.errors import BitstreamError
from model.media.container import fitted
from model.media.video import TimedFrame, read_frames
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.temporal_filter import TemporalFilter

_REORDERED = 16
"""Frames among which those that came out of order find their place."""

_STATES = 4
"""Enrolled source images that a tile keeps: as many as a participant holds at a time."""


@dataclass(frozen=True)
class CallFrame:
    """A frame of motion."""

    ms: int  # after the start of the recording
    image: int  # number of its source image
    windows: tuple[int, ...]  # numbers of the windows beside it
    vector: NDArray[np.float32]


def call_frames(statistics: MotionStatistics, vav: Vav, path: Path) -> Iterator[CallFrame]:
    """Frames of a recorded call in the order of time. What was lost on its way, or refers to it, is left out.

    Raises BitstreamError for messages that no encoder writes.
    """
    decoder = MotionDecoder(statistics)
    waiting: list[tuple[int, int, CallFrame]] = []
    last, count = -(1 << 62), 0
    for message in vav.messages:
        assert message.clock is not None
        try:
            decoded = decoder.decode(message.data)
        except BitstreamError as error:
            raise BitstreamError(f"{path}: {error}") from None
        for frame in decoded:
            image = message.images.get(frame.source)
            if image is None:
                raise BitstreamError(f"{path}: motion for source image {frame.source}, which the file lacks")
            if np.isfinite(frame.vector).all():
                ms = message.clock.at(frame.capture_ms)
                count += 1
                heapq.heappush(waiting, (ms, count, CallFrame(ms, image, message.windows, frame.vector)))
        while len(waiting) > _REORDERED:
            ms, _, found = heapq.heappop(waiting)
            if ms > last:
                last = ms
                yield found
    for ms, _, found in sorted(waiting):
        if ms > last:
            last = ms
            yield found


class FaceTile:
    """Motion of one file: at each time the newest frame that is due."""

    def __init__(self, head: TalkingHead, vav: Vav, path: Path, shift: Fraction) -> None:
        """`shift`: seconds of the film at which the file's time is 0."""
        self._head, self._vav, self._path, self._shift = head, vav, path, shift
        self._frames = call_frames(head.statistics, vav, path)
        self._next = next(self._frames, None)
        self._states: OrderedDict[int, SourceState] = OrderedDict()
        self._beside: dict[int, tuple[int, ...]] = {}  # numbers of the windows beside each of these
        self.filter = TemporalFilter()

    @property
    def ended(self) -> bool:
        """Whether its last frame was shown."""
        return self._next is None

    def due(self, time: Fraction) -> CallFrame | None:
        """The frame that the film shows from `time` on, where that is another than before."""
        found = None
        while self._next is not None and self._shift + Fraction(self._next.ms, 1000) <= time:
            found, self._next = self._next, next(self._frames, None)
        return found

    def state(self, frame: CallFrame) -> SourceState:
        """The enrolled source image of a frame, with its windows beside it. Raises BitstreamError."""
        state = self._states.pop(frame.image, None)
        if state is None:
            state = enrolled(self._head, self._vav.images[frame.image], self._path)
            self._beside[frame.image] = ()
        if self._beside[frame.image] != frame.windows:
            state = with_windows(self._head, state, [self._vav.windows[i] for i in frame.windows], self._path)
            self._beside[frame.image] = frame.windows
        self._states[frame.image] = state
        if len(self._states) > _STATES:
            gone, _ = self._states.popitem(last=False)
            del self._beside[gone]
        return state


class FilmTile:
    """Pictures of one camera's file."""

    def __init__(self, path: Path, shift: Fraction, side: int) -> None:
        """`shift`: seconds of the film at which the camera's first picture is shown."""
        self._frames: Iterator[TimedFrame] = read_frames(path)
        self._shift, self._side = shift, side
        self._next = next(self._frames, None)

    @property
    def ended(self) -> bool:
        """Whether its last picture was shown."""
        return self._next is None

    def due(self, time: Fraction) -> NDArray[np.uint8] | None:
        """The picture that the film shows from `time` on, whole in a square, where that is another than before."""
        found = None
        while self._next is not None and self._shift + self._next.time <= time:
            found, self._next = self._next, next(self._frames, None)
        return None if found is None else fitted(found.rgb(), (self._side, self._side))
