"""Delay line for sound and the rule how long it must be, so that lips stay in sync. Pure: takes the time.

Browsers align sound and picture by the send times in RTCP sender reports (RFC 3550 section 6.4.1). So the two are in
sync when sound leaves the receiver as long after its capture as the picture of the same instant.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

TOLERANCE = 0.02
"""Seconds by which sound may come later than the picture before the picture is made to wait."""


@dataclass(frozen=True)
class LipSyncDelays:
    """What brings sound and picture together."""

    sound: float  # seconds that sound waits in the delay line
    picture: float  # seconds that the picture must wait longer, because sound is slower by nature


def lip_sync_delays(picture: float, sound: float, maximum: float = 0.6) -> LipSyncDelays:
    """Delays for a picture that takes `picture` seconds from capture to encoded and sound that takes `sound` so far."""
    ahead = picture - sound
    return LipSyncDelays(min(max(ahead, 0.0), maximum), max(-ahead - TOLERANCE, 0.0))


class DelayLine(Generic[T]):
    """First in, first out after `delay` seconds; the delay moves smoothly; at most `capacity` items wait."""

    def __init__(self, capacity: int = 100, slew: float = 0.1) -> None:
        self._items: deque[tuple[float, T]] = deque()
        self._capacity = capacity
        self._slew = slew  # seconds of delay gained or lost per second at most
        self._target = 0.0
        self._delay: float | None = None
        self._moved = 0.0
        self.dropped = 0  # items pushed out because the line was full

    @property
    def delay(self) -> float:
        """Delay in force, seconds."""
        return self._target if self._delay is None else self._delay

    def set_delay(self, seconds: float) -> None:
        """Delay from now on, seconds >= 0; the first one holds at once, later ones are approached."""
        self._target = max(seconds, 0.0)

    def push(self, item: T, now: float) -> None:
        """One item that arrived at `now` (seconds, rising)."""
        self._follow(now)
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self.dropped += 1
        self._items.append((now, item))

    def due(self, now: float) -> list[T]:
        """Items whose time has come, in order."""
        self._follow(now)
        out: list[T] = []
        while self._items and self._items[0][0] + self.delay <= now:
            out.append(self._items.popleft()[1])
        return out

    def next_due(self) -> float | None:
        """When the next item is due at the present delay, seconds; None when nothing waits."""
        return self._items[0][0] + self.delay if self._items else None

    def __len__(self) -> int:
        return len(self._items)

    def _follow(self, now: float) -> None:
        if self._delay is None:
            self._delay = self._target
        else:
            step = self._slew * max(now - self._moved, 0.0)
            self._delay += min(max(self._target - self._delay, -step), step)
        self._moved = max(now, self._moved)
