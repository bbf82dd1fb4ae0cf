"""Quantiser: motion coefficients to integer levels and back.

A level is a coefficient divided by its unit (`MotionStatistics.units`) and by the step factor 2^(step_index / 4),
rounded. Levels are what the bitstream carries and what prediction works on, so encoder and decoder agree exactly: the
decoder's floating point decides how a motion looks, never how the next frame decodes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MIN_STEP_INDEX, MAX_STEP_INDEX = -24, 24
"""Step factors from 1/64 to 64 of the units; four indices are one octave."""

MAX_LEVEL = 32767
"""Levels beyond are clipped: at the finest step that is 256 degrees or 5 times the width of the crop."""

DEAD_ZONE = 0.75
"""A coefficient within this many steps of its last level keeps that level.

0.5 would be plain rounding; the margin keeps a coefficient that lies between two levels from toggling, which costs
bits.
"""

_ROOTS = (65536, 77936, 92682, 110218)  # round(65536 * 2^(i / 4))


def step_factor(step_index: int) -> float:
    """2^(step_index / 4)."""
    return float(2.0 ** (step_index / 4))


def nearest_step_index(factor: float) -> int:
    """The step index whose factor is nearest to `factor` (> 0), clipped to the legal range."""
    return max(MIN_STEP_INDEX, min(MAX_STEP_INDEX, round(4 * math.log2(factor))))


def scaled(coefficients: NDArray[np.float64], step_index: int) -> NDArray[np.float64]:
    """Coefficients (..., N) in steps: what the nearest level would be before rounding, within the range of levels."""
    return np.clip(coefficients / step_factor(step_index), -MAX_LEVEL, MAX_LEVEL)


def quantise(
    coefficients: NDArray[np.float64], step_index: int, anchor: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Levels (N,) of coefficients (N,) in units, without regard to what they cost.

    `anchor` holds levels at the same step, those of another frame: a coefficient keeps that level when it lies within
    DEAD_ZONE steps. The error is at most DEAD_ZONE steps.
    """
    steps = scaled(coefficients, step_index)
    levels = np.rint(steps).astype(np.int64)
    return levels if anchor is None else np.where(np.abs(steps - anchor) <= DEAD_ZONE, anchor, levels)


def dequantise(levels: NDArray[np.int64], step_index: int) -> NDArray[np.float64]:
    """Coefficients in units of levels (..., N)."""
    return np.asarray(levels * step_factor(step_index), np.float64)


def rescale(levels: NDArray[np.int64], from_index: int, to_index: int) -> NDArray[np.int64]:
    """Levels at another step, in integers (bit-exact): round(|level| 2^((from - to) / 4)), halves away from zero."""
    if from_index == to_index:
        return levels
    octaves, quarter = divmod(from_index - to_index, 4)
    shift = 16 - octaves
    magnitude = (np.abs(levels) * _ROOTS[quarter] + (1 << (shift - 1))) >> shift
    return np.asarray(np.sign(levels) * np.minimum(magnitude, MAX_LEVEL), np.int64)
