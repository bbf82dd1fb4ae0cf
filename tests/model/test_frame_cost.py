"""What a frame costs in matrix products: the same on a machine that is twice as slow."""

from __future__ import annotations

import pytest

from model import frame_cost as module
from model.evaluate import call
from model.frame_cost import frame_cost


class Machine:
    """A clock that goes on by what is done: a product takes 10 ms at full speed, a frame what it is told to."""

    def __init__(self, slowness: float) -> None:
        self.slowness = slowness
        self.now = 0.0
        self.aligned = 0

    def __call__(self) -> float:
        self.now += 0.005 * self.slowness  # half a product's time: each is begun and ended with a look at the clock
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds * self.slowness

    def align(self) -> None:
        self.aligned += 1
        self.work(0.04)


def cost(machine: Machine, *, align: bool = True) -> dict[str, float]:
    found: dict[str, float] = frame_cost(
        lambda: machine.work(0.04), lambda: machine.work(0.05), machine.align if align else None, 2, 5, machine
    )
    return found


def test_a_slow_machine_has_the_same_cost_at_half_the_rate() -> None:
    fast, slow = cost(Machine(1.0)), cost(Machine(2.0))
    assert fast["matrix_gflops"] == pytest.approx(2 * slow["matrix_gflops"], abs=0.2)
    assert fast["frame_cost_gflop"] == pytest.approx(slow["frame_cost_gflop"], abs=0.02)


def test_alignment_counts_as_often_as_a_call_does_it() -> None:
    """Each look at the clock takes 5 ms, so that aligning two adds 45 to 45 and 55."""
    gflops = 2 * 1024**3 / 0.005 / 1e9
    machine = Machine(1.0)
    assert abs(cost(machine)["frame_cost_gflop"] - gflops * (0.055 + (0.045 + 0.045) / 2)) < 0.02
    assert machine.aligned == 6
    assert abs(cost(Machine(1.0), align=False)["frame_cost_gflop"] - gflops * (0.055 + 0.045 / 2)) < 0.02


def test_it_aligns_as_the_evaluation_of_a_call_does() -> None:
    assert pytest.approx(float(call.ALIGNED)) == module.ALIGNED
