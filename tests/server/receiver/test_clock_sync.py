"""Clock offset from ping and pong."""

from __future__ import annotations

import random

import pytest

from server.receiver.clock_sync import ClockSync


def test_shortest_round_trip_wins() -> None:
    sync = ClockSync()
    rng = random.Random(0)
    for i in range(20):
        sent = 1.0 * i
        there, back = 0.010 + 0.050 * rng.random(), 0.010 + 0.050 * rng.random()
        sync.add(sent, sent + there + back, sent + there + 7.777)
    assert sync.offset is not None
    assert abs(sync.offset - 7.777) < 0.020
    assert sync.round_trip is not None


def test_age_undoes_the_wrap_of_32_bits() -> None:
    sync = ClockSync()
    assert sync.age(0, 0) is None
    sync.add(0.0, 0.0, ((1 << 32) - 100) / 1000)
    assert sync.age((1 << 32) - 50, 0.1) == pytest.approx(0.05, abs=1e-6)  # the peer's clock has just wrapped
    assert sync.age(20, 0.1) == pytest.approx(-0.02, abs=1e-6)


def test_impossible_exchanges_are_ignored() -> None:
    sync = ClockSync()
    sync.add(0.1, 0.05, 0.0)
    sync.add(0.0, 60.0, 0.0)
    assert sync.offset is None
