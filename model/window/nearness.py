"""How much each of several pictures of a mouth or an eye counts where it is drawn: by how near it is, softly.

The rule of a receiver (docs/protocol.md, "Windows"); senders foretell by it what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_WEIGHT = 0.02
"""Share up to which a window counts nothing: what is next to nothing comes in from there, as a step would be seen."""

MOST_DRAWN = 16
"""Windows that count at once: a frame must not take long because many are alike."""

DENSE = 10
"""Windows from which on they lie so near to each other that the nearest of them must count for more."""


@dataclass(frozen=True)
class Nearness:
    """Distances are those of shapes, `shape_distance` or `eye_distance`."""

    over: float  # distance over which what a picture counts falls by e beside up to `DENSE` windows
    as_near: float  # by which a lone window must be nearer than the source image for either to count half
    far: float  # from which on the source image is no further: what is painted is better than what is stretched
    many: int | None = None  # windows from which on the source image is as near as it is; None: it always is nearer

    def handicap(self, windows: int) -> float:
        """Distance by which the source image counts as nearer beside so many windows."""
        return self.as_near * (1 if self.many is None else max(0.0, 1 - windows / self.many))

    def softness(self, windows: int) -> float:
        """Distance over which what a picture counts falls by e beside so many windows."""
        return self.over * math.sqrt(min(1.0, DENSE / max(windows, 1)))

    def weights(self, away: NDArray[np.floating]) -> NDArray[np.float64]:
        """What each picture counts for each face, (..., 1 + K, N), in the sum 1.

        away  (..., 1 + K, N) distance of the source image's shape and of K windows' from N faces'
        """
        windows = away.shape[-2] - 1
        away = away.astype(np.float64)
        if windows:
            away[..., 0, :] = np.minimum(away[..., 0, :] - self.handicap(windows), self.far)
        weights = np.exp((away.min(-2, keepdims=True) - away) / self.softness(windows))
        weights /= weights.sum(-2, keepdims=True)
        least = _least(weights[..., 1:, :])
        weights[..., 1:, :] = np.maximum((weights[..., 1:, :] - least) / (1 - least), 0)
        weights[..., 0, :] = 1 - weights[..., 1:, :].sum(-2)
        counted: NDArray[np.float64] = weights
        return counted

    def of_windows(self, away: NDArray[np.floating]) -> list[float]:
        """What each window counts for one face, K of them; what is left of 1 is the source image's.

        away  (1 + K,) as of `weights`
        """
        counted: list[float] = self.weights(away[:, None])[1:, 0].tolist()
        return counted


def _least(weights: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """Share up to which windows count nothing, of their weights (..., K, N)."""
    if weights.shape[-2] <= MOST_DRAWN or (weights > LEAST_WEIGHT).sum(-2).max(initial=0) <= MOST_DRAWN:
        return LEAST_WEIGHT
    next_one = np.partition(weights, -MOST_DRAWN - 1, -2)[..., -MOST_DRAWN - 1, None, :]
    return np.maximum(next_one, LEAST_WEIGHT)
