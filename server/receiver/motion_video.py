"""From motion to pictures: plays the buffer at the picture's rate, asks the engine for every view that is watched.

Where frames come at the picture's rate, each is asked for when it is due: it waits for nothing. Elsewhere pictures
follow one grid of times, shared by all publications of the process, and motion is interpolated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

from model.media.face_mark import FaceMark, marked_planes
from server.media.broadcast import Broadcast
from server.media.encoder import CLOCK_RATE
from server.media.picture import PictureTimes, TimedPicture
from server.receiver.control_session import ControlSession
from server.receiver.lost_mark import Mark, draw_held
from server.receiver.observer import Observer
from server.receiver.playout import PlayoutBuffer, PlayoutFrame
from server.receiver.render_engine import RenderEngine
from server.receiver.rendered_view import RenderedView, ShownPicture
from server.receiver.source_slots import SourceSlots

_HELD_INTERVAL = 0.2
"""Seconds between pictures while nothing moves: enough for a new viewer's keyframe, next to nothing to encode."""

_RETRY = 0.125
"""Share of the picture interval after which the buffer is asked again for a frame that is late."""

_LOOKED_FOR = 0.5
"""Seconds for which a frame that is late is looked for that often. Lost ones come again within that, or never."""

_WORTH_WAITING = 0.4
"""Share of the picture interval for which an engine that has become free waits for the next frame, which is newer."""


class MotionVideo:
    """The picture of one motion publication. `tick` belongs to the event loop, as do the engine's answers."""

    def __init__(
        self,
        playout: PlayoutBuffer,
        sources: SourceSlots,
        control: ControlSession,
        engine: RenderEngine,
        broadcast: Broadcast,
        metrics: Observer,
        clock: Callable[[], float],
        fps: float,
    ) -> None:
        self._playout = playout
        self._sources = sources
        self._control = control
        self._engine = engine
        self._broadcast = broadcast
        self._metrics = metrics
        self._clock = clock
        self._interval = 1.0 / fps
        self._origin = clock()
        self._views: dict[Hashable, RenderedView] = {}  # those watched, and those with a picture at the engine
        self.size = engine.sizes[0]
        """Side of the pictures that are asked for, pixels."""
        self.last: PlayoutFrame | None = None
        self.face_mark: FaceMark | None = None
        """What is drawn into every picture, so that viewers without a roster know what they see."""

    async def run(self) -> None:
        """Tick for ever; ticks that were missed are left out."""
        while True:
            now = self._clock()
            await asyncio.sleep(self.next_tick(now) - now)
            self.tick(self._clock())

    def next_tick(self, now: float) -> float:
        """When to tick next: as the next frame is due, or on the common multiples of the picture interval."""
        due = self._playout.next_due
        if due is None or now > due + _LOOKED_FOR:
            return (math.floor(now / self._interval) + 1) * self._interval
        return max(due, now + _RETRY * self._interval)

    def tick(self, now: float) -> None:
        """Play one instant: ask for the pictures that are due at `now` (seconds)."""
        played = self.last = self._playout.sample(now)
        if played is None:
            return
        watched = self._broadcast.views()
        for key in set(self._views) - set(watched):
            if self._views[key].in_flight:
                self._views[key].forget()
            else:
                del self._views[key]
        self._play([self._view(key) for key in watched], played, now)

    def _view(self, key: Hashable) -> RenderedView:
        view = self._views.get(key)
        if view is None:
            assert isinstance(key, tuple)
            view = self._views[key] = RenderedView(key, self._engine, self._answered)
        return view

    def _play(self, views: Iterable[RenderedView], played: PlayoutFrame, now: float) -> None:
        state = self._sources.state(played.source)
        if state is None:
            return
        mark: Mark = "lost" if played.state == "lost" else "held" if self._control.paused else "none"
        for view in views:
            shown = view.shown
            if shown is not None and shown.motion is played.motion and shown.source == played.source:
                # Nothing has moved: the picture is there already.
                if mark != shown.mark or now - shown.at >= _HELD_INTERVAL:
                    view.shown = replace(shown, mark=mark, at=now, times=None)
                    self._show(view, view.shown)
                continue
            if view.in_flight:
                view.overdue = True
                self._metrics.frame_dropped("busy")
                continue
            times = PictureTimes(now, self._control.captured_at(played.capture_ms, now))
            # A picture that has not begun two intervals after its time is overtaken by later ones.
            if not view.ask(state, played, mark, times, now + 2 * self._interval, self.size):
                self._metrics.frame_dropped("busy")

    def _answered(self, view: RenderedView, picture: ShownPicture | None) -> None:
        if picture is not None:
            self._show(view, picture)
        if not view.overdue:
            return
        # Slower than its rate, the engine goes on with what is due at this moment, not with what waited for it.
        view.overdue = False
        now = self._clock()
        due = self._playout.next_due
        if due is not None and 0 <= due - now < _WORTH_WAITING * self._interval:
            return  # the tick of that frame is near
        played = self.last = self._playout.sample(now)
        if played is not None:
            self._play([view], played, now)

    def _show(self, view: RenderedView, shown: ShownPicture) -> None:
        planes = shown.planes if shown.mark == "none" else draw_held(shown.planes, shown.mark == "lost")
        if self.face_mark is not None:
            planes = marked_planes(planes, self.face_mark)  # last: it stays as bright as it is
        pts = round((shown.at - self._origin) * CLOCK_RATE)
        self._broadcast.show(view.key, TimedPicture(planes, pts, shown.times))
