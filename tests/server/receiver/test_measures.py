"""Sliding-window measures."""

from __future__ import annotations

import random

from server.receiver.measures import LossMeter, Percentiles


def test_percentiles() -> None:
    values = Percentiles(100)
    assert values.at(0.5) is None
    for i in range(1000):
        values.add(float(i))
    assert values.median == 950.0
    assert values.at(0.95) == 995.0


def test_loss_survives_disorder_duplicates_and_wrapping() -> None:
    rng = random.Random(5)
    meter = LossMeter(window=200)
    assert meter.percent == 0.0
    numbers = [n for n in range(65_000, 67_000) if n % 10]
    for i in range(0, len(numbers) - 5, 5):
        rng.shuffle(part := numbers[i : i + 5])
        numbers[i : i + 5] = part
    for n in numbers:
        meter.add(n % 65_536)
        meter.add(n % 65_536)
    assert 9.0 <= meter.percent <= 11.0
    assert len(meter._seen) <= 200
    meter.add(30_000)
    assert meter.percent == 0.0
