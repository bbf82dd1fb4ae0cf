"""Levels of a whole clip, chosen by what comes later, too: a file may look ahead, a call may not.

A coefficient that changes slowly is to change its level seldom, and at the best moment. For each coefficient the
sequence of levels with the least sum of squared error and bits is found over all frames at once (dynamic programming:
Viterbi 1967; in video, Wen, Luttrell and Villasenor 2000). Coefficients depend on each other by the activity class of a
frame alone, so classes are taken from the levels found before, and the search is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from model.codec.entropy import COST_UNIT, laplace_cost
from model.codec.frame_coding import CLASS_COST, FrameCoder
from model.codec.quantise import MAX_LEVEL, quantise, scaled
from model.codec.statistics import INTRA, MotionStatistics, elapsed_row

PRICE = 0.6 / COST_UNIT
"""What a 256th of a bit may save in squared steps of error; chosen together with the step of files
(docs/experiments/motion-bits.md)."""

CANDIDATES = 4
"""Levels that are tried for a coefficient of a frame: the two next to it on either side."""

WINDOW = 512
AHEAD = 64
"""Frames that are settled at a time, and how many more are looked at: memory does not grow with the clip."""

_PASSES = 2


def clip_levels(
    statistics: MotionStatistics, vectors: NDArray[np.floating], capture_ms: Sequence[int], step_index: int
) -> Iterator[NDArray[np.int64]]:
    """Levels (N,) of each frame of a clip that is coded as a chain at one step.

    vectors     (T, N) as of `Motion.to_vector`
    capture_ms  when each was captured
    """
    coder = FrameCoder(statistics)
    before: NDArray[np.int64] | None = None
    for start in range(0, len(vectors), WINDOW):
        stop = min(start + WINDOW + AHEAD, len(vectors))
        wanted = scaled(statistics.to_coefficients(vectors[start:stop]), step_index)
        elapsed = [
            (capture_ms[index] - capture_ms[index - 1]) & 0xFFFFFFFF if index else None for index in range(start, stop)
        ]
        widths = [coder.widths_at(INTRA if ms is None else elapsed_row(ms), step_index) for ms in elapsed]
        for levels in _search(wanted, widths, before)[:WINDOW]:
            yield levels
            before = levels


def _search(
    wanted: NDArray[np.float64], widths: Sequence[NDArray[np.int64]], before: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Levels (T, N) for coefficients (T, N) in steps.

    widths  T times (8, N): width indices per activity class
    before  (N,) levels of the frame before the first
    """
    origin = np.zeros(wanted.shape[1], np.int64) if before is None else before
    levels = [origin]
    for frame in wanted:
        levels.append(quantise(frame, 0, levels[-1]))
    found = np.stack(levels[1:])
    for _ in range(_PASSES):
        changes = np.diff(found, axis=0, prepend=origin[None])
        chosen = [w[np.argmin(laplace_cost(r, w).sum(1) + CLASS_COST)] for r, w in zip(changes, widths, strict=True)]
        found = _cheapest_path(wanted, chosen, origin)
    return found


def _cheapest_path(
    wanted: NDArray[np.float64], widths: Sequence[NDArray[np.int64]], origin: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Levels (T, N) of the least cost, given the width index (N,) of each frame's changes."""
    lowest = np.floor(wanted).astype(np.int64) - (CANDIDATES // 2 - 1)
    candidates = np.clip(lowest[..., None] + np.arange(CANDIDATES), -MAX_LEVEL, MAX_LEVEL)  # (T, N, S)
    error = (wanted[..., None] - candidates) ** 2
    back = np.zeros(candidates.shape, np.int8)
    cost = error[0] + PRICE * laplace_cost(candidates[0] - origin[:, None], widths[0][:, None])
    for index in range(1, len(wanted)):
        change = candidates[index][:, :, None] - candidates[index - 1][:, None, :]  # (N, S, S before)
        total = cost[:, None, :] + PRICE * laplace_cost(change, widths[index][:, None, None])
        back[index] = total.argmin(-1)
        cost = error[index] + np.take_along_axis(total, back[index][..., None].astype(np.intp), -1)[..., 0]
    levels = np.empty(wanted.shape, np.int64)
    state = cost.argmin(-1)[:, None]
    for index in range(len(wanted) - 1, -1, -1):
        levels[index] = np.take_along_axis(candidates[index], state, 1)[:, 0]
        state = np.take_along_axis(back[index], state, 1).astype(np.intp)
    return levels
