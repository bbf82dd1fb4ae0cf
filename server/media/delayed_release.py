"""A delay line with a timer: items come out on the event loop when their time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from server.media.audio_delay import DelayLine

T = TypeVar("T")


class DelayedRelease(Generic[T]):
    """Calls `release(item, now)` for each item after the line's delay. Belongs to one event loop."""

    def __init__(self, line: DelayLine[T], release: Callable[[T, float], None], clock: Callable[[], float]) -> None:
        self.line = line
        self._release = release
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def push(self, items: Iterable[T], now: float) -> None:
        """Items that arrived at `now`, seconds of the clock; what is due is released at once."""
        for item in items:
            self.line.push(item, now)
        self._run()

    def cancel(self) -> None:
        """Release nothing more by itself; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self.cancel()
        now = self._clock()
        for item in self.line.due(now):
            self._release(item, now)
        due = self.line.next_due()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(due - now, 0.001), self._run)
