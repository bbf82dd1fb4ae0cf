"""What a machine can render, as nodes tell each other; tests/attacks/ has what it admits."""

from __future__ import annotations

import pytest

from server.receiver.render_capacity import ASSUMED_VIEWS, FEWEST, STALE_SECONDS, RenderCapacity


def rendered(capacity: RenderCapacity, seconds: float, now: float = 0.0) -> RenderCapacity:
    for _ in range(FEWEST):
        capacity.rendered(seconds, now)
    return capacity


def test_what_can_be_rendered_follows_from_what_a_picture_costs() -> None:
    assert rendered(RenderCapacity(25.0, 0.8), 0.005).capacity(0.0) == pytest.approx(10.0)
    assert rendered(RenderCapacity(25.0, 0.0), 0.005).capacity(0.0) == pytest.approx(8.0), (
        "without a bound all of the rate"
    )


def test_before_anything_was_rendered_something_is_assumed() -> None:
    assert RenderCapacity(25.0).capacity(0.0) == ASSUMED_VIEWS


def test_an_idle_machine_can_what_it_could() -> None:
    capacity = rendered(RenderCapacity(25.0), 0.005)
    assert capacity.capacity(0.0) == pytest.approx(10.0)
    assert capacity.cost(STALE_SECONDS + 1.0) is None
    assert capacity.capacity(STALE_SECONDS + 1.0) == pytest.approx(10.0)


def test_every_machine_can_render_one() -> None:
    assert rendered(RenderCapacity(25.0), 1.0).capacity(0.0) == 1.0
