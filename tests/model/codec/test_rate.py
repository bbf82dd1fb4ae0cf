"""Rate: the ladder from a budget, and the step that holds it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from model.codec.encoder import MotionEncoder
from model.codec.rate import HEADER_BYTES, Rate, StepControl
from model.codec.statistics import MotionStatistics
from model.evaluate.channel import send
from tests.model.codec.test_statistics import walk


def test_more_budget_never_costs_precision() -> None:
    rates = [Rate.for_kbps(kbps) for kbps in (3, 5, 8, 12, 20, 30, 50, 100)]
    messages = [(r.frames_per_second or 0) / r.frames_per_message for r in rates]
    assert messages == sorted(messages)
    assert [r.frames_per_second for r in rates] == sorted(r.frames_per_second or 0 for r in rates)
    assert all(r.repeat == 0 for r in rates), "only a line that loses frames needs some again"
    assert rates[-1].frames_per_message == 1


@pytest.mark.parametrize("kbps", [4.0, 8.0, 15.0, 40.0])
def test_encoder_holds_its_budget(kbps: float) -> None:
    """A head that moves more than usual, in a call: acknowledged every 250 ms; headers included."""
    statistics = MotionStatistics.fit([walk(200, 8, seed) for seed in range(4)], [25.0] * 4)
    encoder = MotionEncoder(statistics, Rate.for_kbps(kbps), epoch=1)
    motion = walk(1000, 8, 77)
    motion[:, :3] *= 3
    wire = 0
    for index, vector in enumerate(motion):
        message = encoder.encode(vector, index * 40)
        if index >= 250 and message:
            wire += len(message) + HEADER_BYTES
    assert wire * 8 / 30_000 <= 1.1 * kbps


@pytest.fixture(scope="module")
def faces() -> MotionStatistics:
    """Statistics of motion that takes as many bytes as that of real faces."""
    return MotionStatistics.fit([walk(120, 40, seed) for seed in range(3)], [25.0] * 3)


@pytest.mark.parametrize("liveliness", [1.0, 3.0])
def test_more_budget_is_never_worse(faces: MotionStatistics, liveliness: float) -> None:
    """With twice the budget motion is at least as close to the truth, whatever goes into headers."""
    motion = faces.mean + liveliness * (walk(300, 40, 7) - faces.mean)
    errors = []
    for kbps in (12.0, 25.0, 50.0):
        sent = send(faces, motion.astype(np.float32), Rate.for_kbps(kbps))
        error = faces.to_coefficients(sent.vectors) - faces.to_coefficients(motion)
        errors.append(float((error[150:] ** 2).mean()))
    assert all(more < 1.02 * less for less, more in pairwise(errors)), errors


def test_step_recovers_when_the_budget_allows() -> None:
    control = StepControl(Rate(step_index=0, kbps=10.0, header_bytes=0))
    for _ in range(200):
        control.sent(40, 100)  # 20 kbit/s
    coarse = control.step_index
    assert coarse > 4
    for _ in range(400):
        control.sent(40, 10)  # 2 kbit/s
    assert control.step_index == 0


def test_without_a_budget_the_step_stays() -> None:
    control = StepControl(Rate(step_index=3))
    for _ in range(100):
        control.sent(1, 1000)
    assert control.step_index == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"step_index": 25},
        {"frames_per_message": 0},
        {"repeat": -1},
        {"frames_per_message": 20, "repeat": 13},
        {"kbps": 0},
        {"kbps": float("nan")},
        {"frames_per_second": -1},
    ],
)
def test_impossible_rates_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Rate(**arguments)  # type: ignore[arg-type]


def test_frame_rate_is_a_limit() -> None:
    encoder = MotionEncoder(MotionStatistics.default(2), Rate(frames_per_second=10))
    sent = [encoder.encode(np.zeros(encoder.statistics.size), round(i * 1000 / 30)) is not None for i in range(90)]
    assert sum(sent) == 30
