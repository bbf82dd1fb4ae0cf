"""What `make soak` reads off its samples."""

from __future__ import annotations

import pytest

from server.benchmark.soak import Probes, Sample, least, slope


def samples(memory: list[float]) -> list[Sample]:
    return [Sample("call", 2.0 * number, value, 10, 10) for number, value in enumerate(memory)]


def test_slope_is_of_the_second_half_in_mib_a_minute() -> None:
    assert slope(samples([50.0 + 5 * min(n, 40) for n in range(100)])) == pytest.approx(0.0)
    assert slope(samples([50.0 + n / 30 for n in range(100)])) == pytest.approx(1.0)


def test_a_single_step_or_peak_is_no_slope() -> None:
    assert abs(slope(samples([50.0] * 60 + [90.0] + [50.0] * 60))) < 0.01


def test_what_is_left_over_is_in_every_sample() -> None:
    found = [Sample("call", 0.0, 1.0, 5, 3), Sample("call", 1.0, 1.0, 4, 3), Sample("rest", 2.0, 1.0, 6, 3)]
    assert (least(found, "call", "tasks"), least(found, "rest", "tasks")) == (4, 6)
    assert least(found, "rest", "descriptors") == 3


def test_probes_tell_what_failed() -> None:
    probes = Probes()
    for number in range(200):
        probes.add("call", 0.002, 0.001)
        probes.add("flood", float("inf") if number > 190 else 0.002, 0.001)
    table = probes.table()
    assert table["call"] == {"count": 200, "p50_ms": 2.0, "p99_ms": 2.0, "machine_late_p99_ms": 1.0}
    assert table["flood"]["p99_ms"] == float("inf")
