"""One direction of a line: which datagrams arrive, and when. Pure: takes the time and its chance."""

from __future__ import annotations

import random
from dataclasses import dataclass

LATE_BY = 0.03
"""Seconds by which a datagram that is overtaken comes later."""


@dataclass(frozen=True)
class LinkSettings:
    """What a direction of a line does to datagrams. Changes take effect with the next one."""

    delay: float = 0.03  # seconds
    jitter: float = 0.0  # seconds, mean of what waiting adds (exponential, at most four times that); nothing overtakes
    reorder: float = 0.0  # share of datagrams that are overtaken
    loss: float = 0.0  # share of datagrams that are lost
    burst: float = 1.0  # mean number of datagrams lost in a row; 1: each is lost by its own chance
    kbps: float | None = None  # of the bottleneck, headers of IP included; None: there is none
    queue: float = 2.0  # seconds of waiting that the bottleneck's queue holds; what finds it full is lost


class Link:
    """The bottleneck's queue first, then loss, then the way (E. N. Gilbert, 1960, for losses in bursts)."""

    def __init__(self, settings: LinkSettings, chance: random.Random) -> None:
        self.settings = settings
        self.cut = False
        """Nothing comes through."""
        self._chance = chance
        self._free = 0.0  # when the bottleneck has sent all that waits
        self._last = 0.0  # when the newest datagram in order arrives
        self._losing = False
        self.waits: list[tuple[float, float]] = []
        """(when, seconds) that each datagram waits for others at the bottleneck."""

    def arrival(self, size: int, now: float) -> float | None:
        """When a datagram of `size` bytes, sent at `now`, arrives; None when it is lost."""
        settings = self.settings
        if self.cut:
            return None
        sent = now
        if settings.kbps is not None:
            wait = max(self._free - now, 0.0)
            if wait > settings.queue:
                return None
            self._free = now + wait + size * 8e-3 / settings.kbps
            self.waits.append((now, wait))
            sent = self._free
        if self._lost():
            return None
        waiting = min(self._chance.expovariate(1.0 / settings.jitter), 4 * settings.jitter) if settings.jitter else 0.0
        # Never two at the same instant: a loop's timers of one instant have no order.
        arrives = max(sent + settings.delay + waiting, self._last + 1e-6)
        if settings.reorder and self._chance.random() < settings.reorder:
            return arrives + LATE_BY
        self._last = arrives
        return arrives

    def _lost(self) -> bool:
        settings = self.settings
        if settings.burst <= 1.0 or not settings.loss:
            return bool(settings.loss) and self._chance.random() < settings.loss
        enter = settings.loss / (settings.burst * (1.0 - settings.loss))
        self._losing = self._chance.random() < (1.0 - 1.0 / settings.burst if self._losing else enter)
        return self._losing
