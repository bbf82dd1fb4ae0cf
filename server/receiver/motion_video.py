"""From motion to pictures: plays the buffer at the picture's rate, asks the engine for every view that is watched.

Where frames come at the picture's rate, each is asked for when it is due: it waits for nothing. Elsewhere pictures
follow one grid of times, shared by all publications of the process, and motion is interpolated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.motion import Motion, View
from model.temporal_filter import FrameTime, TemporalFilter
from model.view_bounds import MAX_PITCH, MAX_ROLL, MAX_YAW
from server.media.broadcast import Broadcast
from server.receiver.lost_mark import draw_held
from server.receiver.playout import PlayoutBuffer, PlayoutFrame
from server.receiver.render_engine import Planes, Rendered, RenderEngine

if TYPE_CHECKING:
    from model.talking_head import SourceState

ViewKey = tuple[int, int, int]
"""A free view in whole degrees: yaw, pitch, roll."""

FRONT: ViewKey = (0, 0, 0)

_HELD_INTERVAL = 0.2
"""Seconds between pictures while nothing moves: enough for a new viewer's keyframe, next to nothing to encode."""

_LOOK_AGAIN = 0.125
"""Share of the picture interval after which a frame that is late is looked for again."""

_WORTH_WAITING = 0.4
"""Share of the picture interval for which an engine that has become free waits for the next frame, which is newer."""


def quantise_view(view: View) -> ViewKey:
    """The nearest whole degrees within bounds: viewers who look from nearly the same side share an encoder."""

    def whole(angle: float, limit: int) -> int:
        return 0 if math.isnan(angle) else round(min(max(angle, -limit), limit))

    return whole(view.yaw, MAX_YAW), whole(view.pitch, MAX_PITCH), whole(view.roll, MAX_ROLL)


@dataclass
class PictureTimes:
    """How long one picture took, seconds."""

    captured: float | None  # what it shows, receiver's clock; None before the sender's clock is known
    playout_at: float  # when it was due, receiver's clock
    queue: float
    render: float
    video_encode: float = 0.0


@dataclass
class _Shown:
    """The last picture of one view."""

    motion: Motion
    source: int
    planes: Planes
    at: float
    look: tuple[bool, bool]  # held, lost


class MotionVideo:
    """The picture of one motion publication. `tick` belongs to the event loop; the rest is callbacks on it."""

    def __init__(
        self,
        playout: PlayoutBuffer,
        engine: RenderEngine,
        broadcast: Broadcast,
        source: Callable[[int], SourceState | None],
        captured: Callable[[int, float], float | None],
        clock: Callable[[], float],
        fps: float,
        report: Callable[[PictureTimes], None],
        drop: Callable[[str], None],
    ) -> None:
        self._playout = playout
        self._engine = engine
        self._broadcast = broadcast
        self._source = source
        self._captured = captured  # (sender's capture time in ms, now) to the receiver's clock
        self._clock = clock
        self._interval = 1.0 / fps
        self._report = report
        self._drop = drop
        self._origin = clock()
        # Views with a picture at the engine (a second one would wait there and be late), and those left out meanwhile.
        self._in_flight: set[Hashable] = set()
        self._owed: set[Hashable] = set()
        self._shown: dict[Hashable, _Shown] = {}
        self._filters: dict[Hashable, TemporalFilter] = {}
        self.paused = False
        self.last: PlayoutFrame | None = None
        self.pictures = 0  # rendered and shown, over all views

    async def run(self) -> None:
        """Tick for ever; ticks that were missed are left out."""
        while True:
            now = self._clock()
            await asyncio.sleep(self.next_tick(now) - now)
            self.tick(self._clock())

    def next_tick(self, now: float) -> float:
        """When to tick next: as the next frame is due, or on the common multiples of the picture interval."""
        due = self._playout.next_due
        if due is None or now > due + 2 * self._interval:
            return (math.floor(now / self._interval) + 1) * self._interval
        return max(due, now + _LOOK_AGAIN * self._interval)

    def tick(self, now: float) -> None:
        """Play one instant: ask for the pictures that are due at `now` (seconds)."""
        played = self.last = self._playout.sample(now)
        if played is None:
            return
        views = self._broadcast.views()
        for gone in set(self._shown) - set(views):
            del self._shown[gone]
        # Of a view whose pictures all came too late, only this is kept.
        for gone in set(self._filters) - set(views):
            del self._filters[gone]
        self._owed &= set(views)
        self._play(views, played, now)

    def _play(self, views: Collection[Hashable], played: PlayoutFrame, now: float) -> None:
        state = self._source(played.source)
        if state is None:
            return
        held = self.paused or played.state == "lost"
        look = (held, played.state == "lost")
        for view in views:
            shown = self._shown.get(view)
            if shown is not None and shown.motion is played.motion and shown.source == played.source:
                # Nothing has moved: the picture is there already.
                if look != shown.look or now - shown.at >= _HELD_INTERVAL:
                    shown.at, shown.look = now, look
                    self._show(view, shown.planes, look, now)
                continue
            self._render(view, state, played, look, now)

    def _render(
        self, view: Hashable, state: SourceState, played: PlayoutFrame, look: tuple[bool, bool], now: float
    ) -> None:
        if view in self._in_flight:
            self._owed.add(view)
            self._drop("busy")
            return
        assert isinstance(view, tuple)
        yaw, pitch, roll = view

        def done(rendered: Rendered | None) -> None:
            self._in_flight.discard(view)
            if rendered is not None:
                finished(rendered)
            if view in self._owed:
                # Slower than its rate, the engine goes on with what is due at this moment, not with what waited for it.
                self._owed.discard(view)
                at = self._clock()
                due = self._playout.next_due
                if due is not None and 0 <= due - at < _WORTH_WAITING * self._interval:
                    return  # the tick of that frame is near
                newest = self.last = self._playout.sample(at)
                if newest is not None:
                    self._play([view], newest, at)

        def finished(rendered: Rendered) -> None:
            self.pictures += 1
            self._shown[view] = _Shown(played.motion, played.source, rendered.planes, now, look)
            captured = self._captured(played.capture_ms, now)
            times = PictureTimes(captured, now, rendered.queued, rendered.rendering)

            def encoded(seconds: float) -> None:
                times.video_encode = seconds
                self._report(times)

            # Only pictures of frames that came in time tell the latency of the way.
            if played.held:
                self._show(view, rendered.planes, look, now)
            else:
                self._show(view, rendered.planes, look, now, encoded, captured)

        # A picture that has not begun two intervals after its time is overtaken by later ones.
        deadline = now + 2 * self._interval
        frame_time = FrameTime(self._filters.setdefault(view, TemporalFilter()), now)
        if self._engine.submit(state, played.motion, View(yaw, pitch, roll), frame_time, deadline, done):
            self._in_flight.add(view)
        else:
            self._drop("busy")

    def _show(
        self,
        view: Hashable,
        planes: Planes,
        look: tuple[bool, bool],
        now: float,
        encoded: Callable[[float], None] | None = None,
        captured: float | None = None,
    ) -> None:
        held, lost = look
        picture = draw_held(planes, lost) if held else planes
        self._broadcast.show(view, picture, round((now - self._origin) * 90_000), encoded, captured)
