"""How many views this machine can render now, and whether it keeps what it promised. A state machine told the time.

The engine says what each picture took; publications say how many views they hold. With N views at `fps` pictures a
second, each taking `cost` seconds of the one engine, everybody gets `1 / (N cost fps)` of the rate, at most all of it.
The cost is wall time: it grows with other load on the machine, and falls where batches grow.

It is that of a picture of the networks' own size. Sharp pictures cost more, and nobody is promised one: they are shown
while everybody gets what was promised all the same, and are the first thing that goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from statistics import median
from typing import NamedTuple

WINDOW_SECONDS = 5.0
"""Pictures of this long ago count; a change of load is seen within half of it."""

STALE_SECONDS = 30.0
"""A cost that is older says nothing any more: other load has come or gone."""

FEWEST = 12
"""Pictures before there is an estimate: the first ones load, compile and fill caches."""

MOST = 256

ALONE_SHARE = 0.5
"""A single view is admitted on every machine. It counts as overloaded below this share of the rate."""

SETTLED_SECONDS = 3.0
"""An overload, or its end, must last that long before it is said."""

SHARP_COST = 8 / 7
"""Times what a small picture takes, until it is measured."""

MOST_SHARP_COST = 2.0
"""A larger ratio was other load that came or went meanwhile."""


ASSUMED_VIEWS = 4.0
"""What a machine can render counts as so much until it has rendered something."""


class _Picture(NamedTuple):
    rendered: float  # when
    seconds: float  # of the engine
    sharp: bool


class RenderCapacity:
    """`share` of the rate is what newcomers must leave to everybody; 0 admits all."""

    def __init__(self, fps: float, share: float = 0.8) -> None:
        self._fps = fps
        self._share = share
        self._pictures: deque[_Picture] = deque(maxlen=MOST)
        self._sharp_cost = SHARP_COST  # times that of a small picture
        self._known_cost: float | None = None  # the latest that was known, however old
        self._promised: dict[Hashable, int] = {}
        self._changed: float | None = None  # since when it has been otherwise than `overloaded` says
        self.overloaded = False
        """Whether for some seconds the views have been getting less than they were promised."""

    @property
    def promised(self) -> int:
        """Views that are promised at present."""
        return sum(self._promised.values())

    def rendered(self, seconds: float, now: float, sharp: bool = False) -> None:
        """One picture took `seconds` of the engine: of a batch its share."""
        self._pictures.append(_Picture(now, seconds, sharp))

    def cost(self, now: float) -> float | None:
        """Seconds that a picture takes, were it no sharp one; None while too few were rendered lately."""
        if len(self._pictures) < FEWEST or now - self._pictures[-1].rendered > STALE_SECONDS:
            return None
        recent = self._recent(WINDOW_SECONDS)
        pictures = recent if len(recent) >= FEWEST else self._pictures
        known = median(p.seconds / self._sharp_cost if p.sharp else p.seconds for p in pictures)
        self._known_cost = known
        return known

    def capacity(self, now: float) -> float:
        """Views that get `share` of the rate at the cost that was known last; never less than one."""
        self.cost(now)
        if self._known_cost is None:
            return ASSUMED_VIEWS
        return max(1.0, 1.0 / max(1e-9, self._known_cost * self._fps * (self._share or 1.0)))

    def rate_share(self, views: int, now: float) -> float:
        """Share of the rate that each of so many views would get, 0 to 1."""
        return self._share_at(self.cost(now), views)

    def sharp_fits(self, now: float) -> bool:
        """Whether everybody gets what was promised while pictures are sharp."""
        cost = self.cost(now)
        sharp = None if cost is None else cost * self._sharp_cost
        return not self.overloaded and (self.promised <= 1 or self._share_at(sharp, self.promised) >= self._share)

    def _share_at(self, cost: float | None, views: int) -> float:
        return 1.0 if cost is None or not views else min(1.0, 1.0 / max(1e-9, views * cost * self._fps))

    def admits(self, now: float, views: int = 1) -> bool:
        """Whether so many more views leave everybody `share` of the rate. The first one is always admitted."""
        wanted = self.promised + views
        return wanted <= 1 or self.rate_share(wanted, now) >= self._share

    def admit(self, owner: Hashable, now: float) -> bool:
        """Promise `owner` its first view where there is time for one; what is promised already stays."""
        if owner not in self._promised:
            if not self.admits(now):
                return False
            self._promised[owner] = 1
        return True

    def promise(self, owner: Hashable, views: int) -> None:
        """From now on `owner` holds so many views; 0 forgets it."""
        if views:
            self._promised[owner] = views
        else:
            self._promised.pop(owner, None)

    def tick(self, now: float) -> None:
        """Let time pass; to be called every second or more often."""
        self._compare()
        views = self.promised
        least = self._share if views > 1 else min(ALONE_SHARE, self._share)
        if (self.rate_share(views, now) < least) == self.overloaded:
            self._changed = None
            return
        if self._changed is None:
            self._changed = now
        if now - self._changed >= SETTLED_SECONDS:
            self.overloaded, self._changed = not self.overloaded, None

    def _compare(self) -> None:
        """What a sharp picture costs more: known when both kinds were rendered within a short time, under one load."""
        recent = self._recent(2 * WINDOW_SECONDS)
        small = [picture.seconds for picture in recent if not picture.sharp]
        sharp = [picture.seconds for picture in recent if picture.sharp]
        if min(len(small), len(sharp)) >= FEWEST:
            self._sharp_cost = min(max(1.0, median(sharp) / max(1e-9, median(small))), MOST_SHARP_COST)

    def _recent(self, span: float) -> list[_Picture]:
        """Those of the last `span` seconds before the newest."""
        return [p for p in self._pictures if self._pictures[-1].rendered - p.rendered <= span]
