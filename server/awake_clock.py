"""A clock that stands still while this process does: silence is measured with it. Pure but for the clock given."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_STEP = 1.0
"""Seconds: of the time between two looks at the clock at most this much counts. A process that was stopped, starved or
busy compiling heard nobody, and that was not their silence."""


class AwakeClock:
    """Monotonic seconds in which the process ran. Somebody must look at it more often than every `longest_step`."""

    def __init__(self, clock: Callable[[], float], longest_step: float = LONGEST_STEP) -> None:
        self._clock = clock
        self._longest_step = longest_step
        self._seen = self._now = clock()

    def __call__(self) -> float:
        """The time now, seconds; it never decreases."""
        seen = self._clock()
        self._now += min(max(0.0, seen - self._seen), self._longest_step)
        self._seen = seen
        return self._now
