"""Places the timestamps of one RTP stream in the time of whoever takes it. Pure: takes the time.

Between packets the stream's own clock counts, so jitter leaves no mark. The two are related by the packet that came
fastest; where that has moved for a while, by drift or another way through the network, the relation follows.
"""

from __future__ import annotations

WINDOW = 5.0
"""Seconds after which the fastest packet of that time is looked at."""

TOLERANCE = 0.04
"""Seconds by which it may have moved: less is heard and seen by nobody."""

LONGEST_STEP = 10.0
"""Seconds between what a timestamp says and when it came, beyond which it belongs to another stream."""


class StreamClock:
    """The clock of one stream at a time. Ticks are those of its timestamps, counted from the time 0 of `came`."""

    def __init__(self, rate: int) -> None:
        """`rate`: ticks a second."""
        self._rate = rate
        self._anchor: tuple[int, int] | None = None  # a timestamp, and the ticks that it stands for
        self._least = float("inf")  # seconds by which packets came later than that, the least of the window
        self._window_ends = 0.0

    def at(self, timestamp: int, came: float) -> int:
        """Ticks for which a uint32 timestamp stands; `came`: when its packet came, seconds, less what it is older."""
        if self._anchor is None:
            return self._begin(timestamp, came)
        at = self._anchor[1] + (timestamp - self._anchor[0] + (1 << 31)) % (1 << 32) - (1 << 31)
        late = came - at / self._rate
        if abs(late) > LONGEST_STEP:
            return self._begin(timestamp, came)
        self._least = min(self._least, late)
        if came >= self._window_ends:
            if abs(self._least) > TOLERANCE:
                at += round(self._least * self._rate)
            self._least, self._window_ends = float("inf"), came + WINDOW
        self._anchor = (timestamp, at)  # the newest, so that differences stay small against 2^31
        return at

    def _begin(self, timestamp: int, came: float) -> int:
        at = round(came * self._rate)
        self._anchor = (timestamp, at)
        self._least, self._window_ends = float("inf"), came + WINDOW
        return at
