"""Clock offset from ping and pong."""

from __future__ import annotations

import random

from server.receiver.clock_sync import ClockSync


def test_shortest_round_trip_wins() -> None:
    sync = ClockSync()
    rng = random.Random(0)
    for i in range(20):
        sent = 1000.0 * i
        there, back = 10 + 50 * rng.random(), 10 + 50 * rng.random()
        sync.add(sent, sent + there + back, sent + there + 7777.0)
    assert sync.offset_ms is not None
    assert abs(sync.offset_ms - 7777.0) < 20
    assert sync.round_trip_ms is not None


def test_age_undoes_the_wrap_of_32_bits() -> None:
    sync = ClockSync()
    assert sync.age_ms(0, 0) is None
    sync.add(0.0, 0.0, float(1 << 32) - 100.0)
    assert sync.age_ms(float((1 << 32) - 50), 100.0) == 50.0  # the peer's clock has just wrapped
    assert sync.age_ms(20.0, 100.0) == -20.0


def test_impossible_exchanges_are_ignored() -> None:
    sync = ClockSync()
    sync.add(100.0, 50.0, 0.0)
    sync.add(0.0, 60_000.0, 0.0)
    assert sync.offset_ms is None
