"""One view of a motion publication that somebody watches: at most one picture of it is at the render engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.motion import Motion, View
from model.temporal_filter import FrameTime, TemporalFilter
from model.view_bounds import MAX_PITCH, MAX_ROLL, MAX_YAW
from server.media.picture import PictureTimes, Planes
from server.receiver.lost_mark import Mark
from server.receiver.playout import PlayoutFrame
from server.receiver.render_engine import RenderedPicture, RenderEngine

if TYPE_CHECKING:
    from model.source_state import SourceState

ViewKey = tuple[int, int, int]
"""A free view in whole degrees: yaw, pitch, roll."""

FRONT: ViewKey = (0, 0, 0)


def quantise_view(view: View) -> ViewKey:
    """The nearest whole degrees within bounds: viewers who look from nearly the same side share an encoder."""

    def whole(angle: float, limit: int) -> int:
        return 0 if math.isnan(angle) else round(min(max(angle, -limit), limit))

    return whole(view.yaw, MAX_YAW), whole(view.pitch, MAX_PITCH), whole(view.roll, MAX_ROLL)


@dataclass(frozen=True)
class ShownPicture:
    """The picture that a view shows, and what it was rendered from."""

    planes: Planes
    motion: Motion
    source: int  # index of the sender's source image
    mark: Mark
    at: float  # when it was shown last, seconds of the receiver's clock
    times: PictureTimes | None  # None where the frame was not there in time, which tells no latency


@dataclass(frozen=True)
class _Asked:
    """A picture at the render engine."""

    played: PlayoutFrame
    mark: Mark
    times: PictureTimes


class RenderedView:
    """The handle of one view at the render engine. Belongs to the event loop.

    `answered(view, picture)` is called once for each picture that was asked for, with None when the engine gave it up.
    """

    def __init__(
        self, key: ViewKey, engine: RenderEngine, answered: Callable[[RenderedView, ShownPicture | None], None]
    ) -> None:
        self.key = key
        self.shown: ShownPicture | None = None
        self.overdue = False  # left out while a picture was at the engine
        self._engine = engine
        self._answered = answered
        self._filter = TemporalFilter()
        self._asked: _Asked | None = None

    @property
    def in_flight(self) -> bool:
        """Whether a picture is at the engine: a second one would wait there and be late."""
        return self._asked is not None

    def forget(self) -> None:
        """Begin anew: nobody watches this view any more."""
        self.shown = None
        self.overdue = False
        self._filter = TemporalFilter()

    def ask(
        self, state: SourceState, played: PlayoutFrame, mark: Mark, times: PictureTimes, deadline: float, size: int
    ) -> bool:
        """Ask for the picture of a frame, `size` pixels a side; False when the engine refuses.

        deadline: seconds of the engine's clock; a picture that has not begun by then is given up.
        """
        frame_time = FrameTime(self._filter, times.played)
        if not self._engine.submit(state, played.motion, View(*self.key), frame_time, deadline, self._done, size):
            return False
        self._asked = _Asked(played, mark, times)
        return True

    def _done(self, rendered: RenderedPicture | None) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        if rendered is None:
            self._answered(self, None)
            return
        played, times = asked.played, asked.times
        # Only pictures of frames that came in time tell the latency of the way.
        timed = None if played.held else replace(times, queue=rendered.queued, render=rendered.rendering)
        picture = ShownPicture(rendered.planes, played.motion, played.source, asked.mark, times.played, timed)
        self.shown = picture
        self._answered(self, picture)
