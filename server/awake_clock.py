"""Time that stands still while this process does: silence is measured with it. Pure but for the clock given."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_STEP = 1.0
"""Seconds: of the time between two looks at the clock at most this much counts. A process that was stopped, starved or
busy compiling heard nobody, and that was not their silence."""


class AwakeTime:
    """Seconds in which the process ran, from the times at which it looked: as often as each `LONGEST_STEP`."""

    def __init__(self, now: float) -> None:
        self._seen = self._awake = now

    def update(self, now: float) -> float:
        """The awake time when a clock shows `now`, seconds; it never decreases."""
        self._awake += min(max(0.0, now - self._seen), LONGEST_STEP)
        self._seen = now
        return self._awake


class AwakeClock:
    """A monotonic clock of awake time. Somebody must look at it as often as each `LONGEST_STEP`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._time = AwakeTime(clock())

    def __call__(self) -> float:
        """The time now, seconds; it never decreases."""
        return self._time.update(self._clock())
