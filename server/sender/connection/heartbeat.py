"""Is the receiver still there, and how far away: pings every second on the control channel. Told the time.

ICE consent expires after about 30 seconds (RFC 7675, section 5.1); a person will not wait that long for a picture.
"""

from __future__ import annotations

PING_EVERY_MS = 1000.0

GONE_AFTER_MS = 5000.0
"""Silence after which the connection counts as lost."""

LONGEST_TICK_MS = 2000.0
"""Of the time between two looks at most this much counts as silence: when the laptop slept, or this process was held
up, it is not the receiver that said nothing."""

OPEN_PINGS = 32
"""Pings remembered without an answer; older ones are forgotten."""


class Heartbeat:
    """Times are ms of the own monotonic clock."""

    def __init__(self, now_ms: float) -> None:
        self._looked_ms = now_ms
        self._silence_ms = 0.0
        self._sent: dict[int, float] = {}
        self._count = 0
        self.round_trip_ms: float | None = None
        """Of the latest answered ping."""

    def ping(self, now_ms: float) -> int:
        """A ping leaves now; returns its number."""
        self._count += 1
        self._sent[self._count] = now_ms
        if len(self._sent) > OPEN_PINGS:
            del self._sent[next(iter(self._sent))]
        return self._count

    def pong(self, number: int, now_ms: float) -> None:
        """An answer came; a number that is not open (a duplicate, or made up) changes nothing."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self.round_trip_ms = max(0.0, now_ms - sent)

    def heard(self, now_ms: float) -> None:
        """Anything at all came from the receiver."""
        self._looked_ms = now_ms
        self._silence_ms = 0.0

    def gone(self, now_ms: float) -> bool:
        """Whether the receiver has been silent for too long; to be asked every `PING_EVERY_MS`."""
        self._silence_ms += min(max(0.0, now_ms - self._looked_ms), LONGEST_TICK_MS)
        self._looked_ms = now_ms
        return self._silence_ms >= GONE_AFTER_MS
