"""Rates over a sliding window."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.rate_window import RateWindow


def test_a_steady_rate() -> None:
    window = RateWindow(3.0, 1.0)
    assert window.rate(0.0) == 0.0
    for i in range(300):
        window.add(10.0, i * 0.1)
    assert window.rate(29.9) == pytest.approx(100.0, abs=5)
    assert window.rate(100.0) == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(0, 1500)), max_size=60))
def test_it_counts_exactly_what_lies_in_its_window(steps: list[tuple[float, int]]) -> None:
    window = RateWindow(2.0, 0.5)
    now, entries = 0.0, []
    for pause, size in steps:
        now += pause
        window.add(size, now)
        entries.append((now, size))
    inside = sum(size for time, size in entries if time > now - 2.0)
    first = entries[0][0] if entries else 0.0
    assert window.rate(now) == pytest.approx(inside / min(2.0, max(0.5, now - first)))
    assert window.rate(now + 4.0) == 0.0


def test_its_memory_is_bounded() -> None:
    window = RateWindow(10.0, 1.0, capacity=100)
    for i in range(1000):
        window.add(1.0, i * 0.001)
    assert window.rate(1.0) == pytest.approx(100.0)
