"""Offset between two monotonic clocks from ping and pong, after NTP's four timestamps (RFC 5905 section 8)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_LONGEST = 10.0
"""Seconds of a round trip that is believed."""

_WRAP = 2**32 / 1000
"""Seconds after which a capture time on the wire begins anew."""


@dataclass(frozen=True)
class _Sample:
    round_trip: float  # seconds
    offset: float  # seconds


class ClockSync:
    """Keeps the offset of the exchange with the shortest round trip of the last `window`: queueing only ever adds.

    A pong carries one peer time, so the offset is wrong by at most half of that round trip.
    """

    def __init__(self, window: int = 16) -> None:
        self._samples: deque[_Sample] = deque(maxlen=window)

    def add(self, sent: float, received: float, peer: float) -> None:
        """One exchange: ping sent and pong received by the own clock, pong sent by the peer's; seconds.

        Ignored when the pong would have come before its ping or took over ten seconds.
        """
        round_trip = received - sent
        if not 0.0 <= round_trip <= _LONGEST:
            return
        self._samples.append(_Sample(round_trip, peer - (sent + received) / 2))

    @property
    def offset(self) -> float | None:
        """Peer's clock minus own clock, seconds; None before the first exchange."""
        return min(self._samples, key=lambda sample: sample.round_trip).offset if self._samples else None

    @property
    def round_trip(self) -> float | None:
        """Median round trip of the window, seconds."""
        if not self._samples:
            return None
        return sorted(sample.round_trip for sample in self._samples)[len(self._samples) // 2]

    def way(self, transit: float) -> float | None:
        """Seconds between leaving by the peer's clock and coming by the own one, given the difference of the two
        readings; None before the clocks are related.
        """
        offset = self.offset
        if offset is None:
            return None
        return (transit + offset + _WRAP / 2) % _WRAP - _WRAP / 2

    def age(self, capture_ms: int, now: float) -> float | None:
        """Seconds since the peer's clock showed `capture_ms`, the wire's 32 bits; what has wrapped is undone."""
        offset = self.offset
        if offset is None:
            return None
        age = (now + offset - capture_ms / 1000) % _WRAP
        return age - _WRAP if age > _WRAP / 2 else age
