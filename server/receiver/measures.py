"""Sliding-window measures: medians, percentiles and loss. Pure."""

from __future__ import annotations

from collections import deque


class Percentiles:
    """Median and other percentiles of the last `window` values."""

    def __init__(self, window: int = 150) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> None:
        """One more value."""
        self._values.append(value)

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()

    def at(self, share: float) -> float | None:
        """The value below which this share (0 ... 1) lies; None without values."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    @property
    def median(self) -> float | None:
        """The middle value; None without values."""
        return self.at(0.5)


class LossMeter:
    """Share of frames that never came, from their 16-bit sequence numbers (RFC 3550 appendix A.3, over a window)."""

    def __init__(self, window: int = 256) -> None:
        self._window = window
        self._newest: int | None = None
        self._seen: set[int] = set()
        self._first = 0

    def add(self, sequence: int) -> None:
        """A frame of this number (modulo 65536) arrived; duplicates and reordering are fine."""
        if self._newest is None:
            self._newest = self._first = sequence
        step = (sequence - self._newest + 32768) % 65536 - 32768
        if abs(step) > 4 * self._window:
            # Another encoder began, or a whole window is missing: count anew.
            self.reset()
            self._newest = self._first = sequence
            step = 0
        number = self._newest + step
        self._newest = max(self._newest, number)
        self._seen.add(number)
        self._first = max(self._first, self._newest - self._window)
        self._seen = {n for n in self._seen if n > self._newest - self._window} if step > 0 else self._seen

    def reset(self) -> None:
        """Forget everything: the numbers begin anew."""
        self._newest, self._first = None, 0
        self._seen.clear()

    @property
    def percent(self) -> float:
        """Lost frames in percent of those expected in the window."""
        if self._newest is None:
            return 0.0
        oldest = max(self._first, self._newest - self._window + 1)
        expected = self._newest - oldest + 1
        here = sum(oldest <= n <= self._newest for n in self._seen)
        return 100.0 * (expected - here) / expected
