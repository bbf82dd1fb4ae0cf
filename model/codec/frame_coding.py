"""One frame of levels to symbols and back: prediction, activity class, capture interval; and which levels to choose.

A level is predicted to be its reference frame's level. The residual's Laplace width comes from the statistics (per
coefficient and per time elapsed since the reference), shifted by the step and by one activity class per frame: a head
that moves more than usual moves more in everything. Contexts from neighbouring residuals or from what moved before, and
prediction by velocity or shrunk to the mean were each measured and gave 1.5 % or less, so they are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.codec.entropy import (
    COST_UNIT,
    MAX_WIDTH,
    LaplaceRun,
    RangeDecoder,
    RangeEncoder,
    cumulative,
    decode_laplace,
    encode_laplace,
    laplace_cost,
    laplace_runs,
    symbol_cost,
)
from model.codec.packet import MAX_INTERVAL_MS
from model.codec.quantise import MAX_LEVEL, quantise, rescale, scaled
from model.codec.statistics import INTRA, MotionStatistics, elapsed_row
from model.errors import BitstreamError

CLASS_SHIFTS = (-9, -6, -3, 0, 3, 6, 10, 24)
"""Quarter octaves that each activity class adds to all widths; the last is for motion unlike anything in training."""

_CLASS_FREQUENCIES = [3932, 3932, 8520, 17039, 18350, 9175, 3277, 1311]
_CLASS_SUMS = cumulative(_CLASS_FREQUENCIES)
CLASS_COST = symbol_cost(np.array(_CLASS_FREQUENCIES, np.int64))

PRICE = 0.1 / COST_UNIT
"""What a 256th of a bit may save in squared steps of error: at .12 a call's pictures were more than a tenth further
from the film than a file's (docs/experiments/motion-bits.md)."""

STILLNESS = 0.1
"""Squared steps of error that the last frame's level is allowed above any other: a level that toggles shows as
trembling."""

_FIRST_INTERVAL_MS = 40
_FIRST_INTERVAL_WIDTH = 28
_INTERVAL_WIDTH = 16


@dataclass(frozen=True)
class FrameState:
    """A coded frame as both sides remember it."""

    sequence: int  # uint16
    capture_ms: int  # uint32
    source: int
    step_index: int
    levels: NDArray[np.int64]  # (N,)


class FrameCoder:
    """Codes frames of one model's motion."""

    def __init__(self, statistics: MotionStatistics) -> None:
        self.statistics = statistics
        self.widths_at = lru_cache(maxsize=64)(self._class_widths)
        self._runs_at = lru_cache(maxsize=512)(self._laplace_runs)

    def _class_widths(self, row: int, step_index: int) -> NDArray[np.int64]:
        """Width indices per activity class, (8, N)."""
        base = self.statistics.widths[row].astype(np.int64) - step_index
        return np.asarray(np.clip(base + np.array(CLASS_SHIFTS)[:, None], 0, MAX_WIDTH), np.int64)

    def _laplace_runs(self, row: int, step_index: int, chosen: int) -> list[LaplaceRun]:
        """The N residuals with their Laplace tables in activity class `chosen`."""
        return laplace_runs(self.widths_at(row, step_index)[chosen].tolist())

    def _prediction(
        self, reference: FrameState | None, capture_ms: int, step_index: int
    ) -> tuple[NDArray[np.int64], int]:
        """Predicted levels (N,) and the row of widths."""
        if reference is None:
            return np.zeros(self.statistics.size, np.int64), INTRA
        elapsed = (capture_ms - reference.capture_ms) & 0xFFFFFFFF
        return rescale(reference.levels, reference.step_index, step_index), elapsed_row(elapsed)

    def encode(self, coder: RangeEncoder, frame: FrameState, reference: FrameState | None) -> None:
        """Write the levels of `frame`, predicted from `reference` (None: an intra frame)."""
        residual, best, row = self._choose(frame, reference)
        coder.encode(_CLASS_SUMS[best], _CLASS_SUMS[best + 1])
        coder.encode_residuals(residual.tolist(), self._runs_at(row, frame.step_index, best))

    def bits(self, frame: FrameState, reference: FrameState | None) -> float:
        """About what `encode` would write."""
        residual, best, row = self._choose(frame, reference)
        widths = self.widths_at(row, frame.step_index)[best]
        return float(laplace_cost(residual, widths).sum() + CLASS_COST[best]) / COST_UNIT

    def choose_levels(
        self,
        coefficients: NDArray[np.float64],
        capture_ms: int,
        step_index: int,
        reference: FrameState | None,
        last: FrameState | None,
    ) -> NDArray[np.int64]:
        """Levels (N,) for coefficients (N,) in units: those whose error and bits together cost least.

        `last` is the frame before, `reference` what this one will be predicted from. Each level is one of four: that of
        the last frame, the predicted one, the nearest, and the one next to that towards the predicted one
        (rate-distortion optimised quantisation as in video coders: Sullivan and Wiegand 1998).
        """
        predicted, row = self._prediction(reference, capture_ms, step_index)
        widths = self.widths_at(row, step_index)
        guess = quantise(coefficients, step_index, predicted) - predicted
        widths = widths[np.argmin(laplace_cost(guess, widths).sum(1) + CLASS_COST)]
        wanted = scaled(coefficients, step_index)
        nearest = np.rint(wanted).astype(np.int64)
        candidates = [predicted, nearest, nearest - np.sign(nearest - predicted)]
        if last is not None:
            candidates.insert(0, rescale(last.levels, last.step_index, step_index))
        choices = np.stack(candidates)
        cost = (wanted - choices) ** 2 + PRICE * laplace_cost(choices - predicted, widths)
        if last is not None:
            cost[0] -= STILLNESS
        levels: NDArray[np.int64] = np.take_along_axis(choices, cost.argmin(0)[None], 0)[0]
        return levels

    def _choose(self, frame: FrameState, reference: FrameState | None) -> tuple[NDArray[np.int64], int, int]:
        """Residual (N,), the cheapest activity class, the row of widths."""
        predicted, row = self._prediction(reference, frame.capture_ms, frame.step_index)
        residual = frame.levels - predicted
        cost = laplace_cost(residual, self.widths_at(row, frame.step_index)).sum(1)
        return residual, int(np.argmin(cost + CLASS_COST)), row

    def decode(
        self, coder: RangeDecoder, reference: FrameState | None, capture_ms: int, step_index: int
    ) -> NDArray[np.int64]:
        """Levels (N,) of the next frame. Raises BitstreamError."""
        predicted, row = self._prediction(reference, capture_ms, step_index)
        places, residuals = coder.decode_residuals(self._runs_at(row, step_index, coder.decode(_CLASS_SUMS)))
        if not places:
            return predicted  # levels are never written to, so frames may share them
        levels = predicted.copy()
        levels[places] += residuals
        if levels.max() > MAX_LEVEL or levels.min() < -MAX_LEVEL:
            raise BitstreamError("motion payload is damaged (a level out of range)")
        return levels


def encode_interval(coder: RangeEncoder, interval_ms: int, previous_ms: int | None) -> None:
    """Write the capture interval (0 ... 65535 ms) between two frames of a message; `previous_ms` is the one before."""
    if previous_ms is None:
        encode_laplace(coder, interval_ms - _FIRST_INTERVAL_MS, _FIRST_INTERVAL_WIDTH)
    else:
        encode_laplace(coder, interval_ms - previous_ms, _INTERVAL_WIDTH)


def decode_interval(coder: RangeDecoder, previous_ms: int | None) -> int:
    """Inverse of `encode_interval`. Raises BitstreamError."""
    if previous_ms is None:
        interval = _FIRST_INTERVAL_MS + decode_laplace(coder, _FIRST_INTERVAL_WIDTH)
    else:
        interval = previous_ms + decode_laplace(coder, _INTERVAL_WIDTH)
    if not 0 <= interval <= MAX_INTERVAL_MS:
        raise BitstreamError("motion payload is damaged (a capture interval out of range)")
    return interval
