"""Token bucket: how often one client may ask. Pure, takes the time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RateLimit:
    """`rate` requests a second, sustained; `burst` at once."""

    rate: float
    burst: float
    _level: float | None = None
    _last: float = 0.0

    def admit(self, now: float, cost: float = 1.0) -> bool:
        """Whether a request at `now` (seconds) is within the limit; counts it if so, as `cost` of them."""
        level = self.burst if self._level is None else min(self.burst, self._level + (now - self._last) * self.rate)
        self._last = now
        self._level = level - cost if level >= cost else level
        return level >= cost
