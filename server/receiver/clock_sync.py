"""Offset between two monotonic clocks from ping and pong, after NTP's four timestamps (RFC 5905 section 8)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class _Sample:
    round_trip_ms: float
    offset_ms: float


class ClockSync:
    """Keeps the offset of the exchange with the shortest round trip of the last `window`: queueing only ever adds.

    A pong carries one peer time, so the offset is wrong by at most half of that round trip.
    """

    def __init__(self, window: int = 16) -> None:
        self._samples: deque[_Sample] = deque(maxlen=window)

    def add(self, sent_ms: float, received_ms: float, peer_ms: float) -> None:
        """One exchange: ping sent and pong received by the own clock, pong sent by the peer's; milliseconds.

        Ignored when the pong would have come before its ping or took over ten seconds.
        """
        round_trip = received_ms - sent_ms
        if not 0.0 <= round_trip <= 10_000.0:
            return
        self._samples.append(_Sample(round_trip, peer_ms - (sent_ms + received_ms) / 2))

    @property
    def offset_ms(self) -> float | None:
        """Peer's clock minus own clock, milliseconds; None before the first exchange."""
        return min(self._samples, key=lambda sample: sample.round_trip_ms).offset_ms if self._samples else None

    @property
    def round_trip_ms(self) -> float | None:
        """Median round trip of the window, milliseconds."""
        if not self._samples:
            return None
        return sorted(sample.round_trip_ms for sample in self._samples)[len(self._samples) // 2]

    def age_ms(self, capture_ms: float, now_ms: float) -> float | None:
        """How long ago the peer's clock showed `capture_ms`; wraps of 32 bits in `capture_ms` are undone."""
        offset = self.offset_ms
        if offset is None:
            return None
        age = (now_ms + offset - capture_ms) % float(1 << 32)
        return age - float(1 << 32) if age > float(1 << 31) else age
