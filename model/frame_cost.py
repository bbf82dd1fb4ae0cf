"""What a frame of a call costs, free of the machine's mood: its time, times what the machine computes at that moment.

A shared or throttled machine slows a matrix product and a frame alike. Measured in turn in one process, on the same
threads, the product of time and rate stays where it is: so many GFLOP of a matrix product could have been done.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

ALIGNED = 1.0
"""Share of a call's frames that are aligned to their source image, as `model.evaluate.call` has it."""

_SIDE = 1024
_PRODUCTS = 3  # products in a round: about as long as a frame takes


def frame_cost(
    frames: Callable[[], object],
    render: Callable[[], object],
    align: Callable[[], object] | None,
    several: int,
    rounds: int = 30,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Keys: matrix_gflops, a 1024 x 1024 float32 product on torch's threads; frame_cost_gflop.

    frames, align: what the sender does with `several` frames in a row, and with as many of those that a call aligns;
    None aligns none. render: what the receiver does with one. Medians over rounds, in each of which the machine is
    measured before and after.
    """
    a, b = torch.randn(2, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).unbind()

    def seconds(call: Callable[[], object]) -> float:
        began = clock()
        call()
        return clock() - began

    def rate() -> float:
        took = min(seconds(lambda: a @ b) for _ in range(_PRODUCTS))
        return 2 * _SIDE**3 / took / 1e9

    calls = [render, frames] if align is None else [render, frames, align]
    for call in (rate, *calls):  # the first calls compile, and fill caches
        call()
    rates, costs = [], []
    before = rate()
    for _ in range(rounds):
        times = [seconds(call) for call in calls]
        after = rate()
        mean = (before + after) / 2
        rates.append(mean)
        costs.append(mean * (times[0] + (times[1] + ALIGNED * sum(times[2:])) / several))
        before = after
    return {
        "matrix_gflops": round(statistics.median(rates), 1),
        "frame_cost_gflop": round(statistics.median(costs), 2),
    }
