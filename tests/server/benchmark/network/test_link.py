"""The model of a line: what arrives and when; its chance is seeded."""

from __future__ import annotations

import random

import pytest

from server.benchmark.network.link import LATE_BY, Link, LinkSettings


def arrivals(settings: LinkSettings, count: int = 4000, every: float = 0.01, size: int = 100) -> list[float | None]:
    link = Link(settings, random.Random(1))
    return [link.arrival(size, every * i) for i in range(count)]


def test_a_good_line_delays_alone() -> None:
    assert arrivals(LinkSettings(delay=0.03), 100) == pytest.approx([0.01 * i + 0.03 for i in range(100)])


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_losses_are_as_many_and_as_long_as_set(burst: float) -> None:
    lost = [at is None for at in arrivals(LinkSettings(loss=0.2, burst=burst), 40_000)]
    assert sum(lost) / len(lost) == pytest.approx(0.2, abs=0.02)
    runs = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    expected = 1.25 if burst == 1.0 else burst  # by chance alone: 1 / (1 - loss)
    assert sum(lost) / runs == pytest.approx(expected, rel=0.1)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    jittered = [at for at in arrivals(LinkSettings(jitter=0.02)) if at is not None]
    assert jittered == sorted(jittered)
    overtaken = [at for at in arrivals(LinkSettings(reorder=0.1)) if at is not None]
    late = sum(at - 0.01 * i > 0.03 + LATE_BY / 2 for i, at in enumerate(overtaken))
    assert late / len(overtaken) == pytest.approx(0.1, abs=0.02)


def test_a_bottleneck_queues_and_drops_what_finds_its_queue_full() -> None:
    link = Link(LinkSettings(delay=0.0, kbps=80.0, queue=0.5), random.Random(1))
    sent = [link.arrival(100, 0.0) for _ in range(60)]  # each takes 10 ms
    came = [at for at in sent if at is not None]
    assert came == pytest.approx([0.01 * (i + 1) for i in range(len(came))])
    assert 50 <= len(came) <= 51
    assert max(wait for _, wait in link.waits) == pytest.approx(0.5, abs=0.011)


def test_a_cut_line_carries_nothing() -> None:
    link = Link(LinkSettings(), random.Random(1))
    link.cut = True
    assert link.arrival(100, 0.0) is None
