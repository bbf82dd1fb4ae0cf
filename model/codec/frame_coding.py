"""One frame of levels to symbols and back: prediction, activity class, capture interval.

A level is predicted to be its reference frame's level. The residual's Laplace width comes from the statistics (per
coefficient and per time elapsed since the reference), shifted by the step and by one activity class per frame: a head
that moves more than usual moves more in everything. Contexts from neighbouring residuals, per-coefficient adaptation,
velocity prediction and prediction shrunk to the mean were each measured and gave 1 % or less, so they are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.codec.entropy import (
    MAX_WIDTH,
    LaplaceRun,
    RangeDecoder,
    RangeEncoder,
    cumulative,
    decode_laplace,
    encode_laplace,
    laplace_bits,
    laplace_runs,
)
from model.codec.quantise import MAX_LEVEL, rescale
from model.codec.statistics import INTRA, MotionStatistics, elapsed_row
from model.errors import BitstreamError

CLASS_SHIFTS = (-9, -6, -3, 0, 3, 6, 10, 24)
"""Quarter octaves that each activity class adds to all widths; the last is for motion unlike anything in training."""

_CLASS_FREQUENCIES = [3932, 3932, 8520, 17039, 18350, 9175, 3277, 1311]
_CLASS_SUMS = cumulative(_CLASS_FREQUENCIES)
_CLASS_BITS = 16 - np.log2(np.array(_CLASS_FREQUENCIES, np.float64))

MAX_INTERVAL_MS = 65535
"""Longest capture interval within a message."""

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
        self._widths_at = lru_cache(maxsize=64)(self._class_widths)
        self._runs_at = lru_cache(maxsize=512)(self._laplace_runs)

    def _class_widths(self, row: int, step_index: int) -> NDArray[np.int64]:
        """Width indices per activity class, (8, N)."""
        base = self.statistics.widths[row].astype(np.int64) - step_index
        return np.asarray(np.clip(base + np.array(CLASS_SHIFTS)[:, None], 0, MAX_WIDTH), np.int64)

    def _laplace_runs(self, row: int, step_index: int, chosen: int) -> list[LaplaceRun]:
        """The N residuals with their Laplace tables in activity class `chosen`."""
        return laplace_runs(self._widths_at(row, step_index)[chosen].tolist())

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
        widths = self._widths_at(row, frame.step_index)[best]
        return float(laplace_bits(residual, widths).sum() + _CLASS_BITS[best])

    def _choose(self, frame: FrameState, reference: FrameState | None) -> tuple[NDArray[np.int64], int, int]:
        """Residual (N,), the cheapest activity class, the row of widths."""
        predicted, row = self._prediction(reference, frame.capture_ms, frame.step_index)
        residual = frame.levels - predicted
        bits = laplace_bits(residual, self._widths_at(row, frame.step_index)).sum(1)
        return residual, int(np.argmin(bits + _CLASS_BITS)), row

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
