"""Is the receiver still there, and how far away: pings every second on the control channel. Takes the time.

ICE consent expires after about 30 seconds (RFC 7675, section 5.1); a person will not wait that long for a picture.
"""

from __future__ import annotations

from server.awake_clock import AwakeTime
from server.wire.ping_rhythm import PingRhythm

PING_EVERY = 1.0
"""Seconds."""

STEADY_EVERY = 10
"""Ticks for one ping while anything is heard."""

GONE_AFTER = 5.0
"""Seconds of silence after which the connection counts as lost; time in which this process stood still is none."""

OPEN_PINGS = 32
"""Pings remembered without an answer; older ones are forgotten."""


class Heartbeat:
    """Times are seconds of the own monotonic clock."""

    def __init__(self, now: float) -> None:
        self._awake = AwakeTime(now)
        self._heard = now  # awake time
        self._silence = 0.0
        self._sent: dict[int, float] = {}
        self._count = 0
        self._rhythm = PingRhythm(STEADY_EVERY)
        self.round_trip: float | None = None
        """Of the latest answered ping."""

    def due(self) -> bool:
        """Whether this tick, one each `PING_EVERY`, has a ping, and all that is told now and then. Call it once."""
        return self._rhythm.due(self._silence)

    def ping(self, now: float) -> int:
        """A ping leaves now; returns its number."""
        self._count += 1
        self._sent[self._count] = now
        if len(self._sent) > OPEN_PINGS:
            del self._sent[next(iter(self._sent))]
        return self._count

    def pong(self, number: int, now: float) -> None:
        """An answer came; a number that is not open (a duplicate, or made up) changes nothing."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self.round_trip = max(0.0, now - sent)

    def heard(self, now: float) -> None:
        """Anything at all came from the receiver."""
        self._heard = self._awake.update(now)
        self._silence = 0.0

    def gone(self, now: float) -> bool:
        """Whether the receiver has been silent for too long; to be asked every `PING_EVERY`."""
        self._silence = self._awake.update(now) - self._heard
        return self._silence >= GONE_AFTER
