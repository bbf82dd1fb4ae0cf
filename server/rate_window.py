"""Amounts per time over a sliding window: bit rates and frame rates. Pure: takes the time."""

from __future__ import annotations

from collections import deque


class RateWindow:
    """What was added within the last `span`, per second; times are seconds.

    Until a whole `span` has passed since the first entry, the time since then counts, but no less than `least`.
    """

    def __init__(self, span: float, least: float, capacity: int = 2048) -> None:
        self._span = span
        self._least = least
        self._entries: deque[tuple[float, float]] = deque(maxlen=capacity)  # (time, amount)
        self._first: float | None = None

    def add(self, amount: float, now: float) -> None:
        """An amount at `now`, which rises from call to call."""
        if self._first is None:
            self._first = now
        self._entries.append((now, amount))

    def rate(self, now: float) -> float:
        """Amount per second at `now`; 0 when nothing came within the window."""
        while self._entries and self._entries[0][0] <= now - self._span:
            self._entries.popleft()
        if self._first is None:
            return 0.0
        return sum(amount for _, amount in self._entries) / min(self._span, max(now - self._first, self._least))
