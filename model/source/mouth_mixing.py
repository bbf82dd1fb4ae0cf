"""How unlike a mouth its mixed picture is: what a receiver draws from a source image and windows, foretold by texture.

Pure: knows shapes and textures of mouths. A receiver mixes by shape alone (`model/networks/small/mouth.py`); a sender
has the film, and sees by the textures what comes of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.mouth_window import AS_NEAR, DISTANCE_OVER, FAR, LEAST_WEIGHT, MANY


def mixing_weights(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each picture counts in each mouth, (..., 1 + K, N), in the sum 1.

    away  (..., 1 + K, N) `shape_distance` of the source image's mouth and of K windows' from N mouths
    """
    windows = away.shape[-2] - 1
    away = away.copy()
    if windows:
        away[..., 0, :] = np.minimum(away[..., 0, :] - AS_NEAR * max(0.0, 1 - windows / MANY), FAR)
    weights = np.exp((away.min(-2, keepdims=True) - away) / DISTANCE_OVER)
    weights /= weights.sum(-2, keepdims=True)
    weights[..., 1:, :] = np.maximum((weights[..., 1:, :] - LEAST_WEIGHT) / (1 - LEAST_WEIGHT), 0)
    weights[..., 0, :] = 1 - weights[..., 1:, :].sum(-2)
    mixed: NDArray[np.float64] = weights
    return mixed


def unlikeness(
    away: NDArray[np.float64],
    squares: NDArray[np.float64],
    between: NDArray[np.float64],
    among: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean distance of mouths from what is mixed for them, (...), as a share of their grey.

    away     (..., 1 + K, N) as `mixing_weights` takes it
    squares  (N,) mean squares of the mouths' textures
    between  (..., 1 + K, N) mean products of the pictures' textures and theirs
    among    (..., 1 + K, 1 + K) of the pictures' among themselves
    """
    weights = mixing_weights(away)
    # |t - sum w p|^2 by products alone: no texture is mixed.
    left = squares - 2 * (weights * between).sum(-2) + (weights * (among @ weights)).sum(-2)
    found: NDArray[np.float64] = np.sqrt(np.maximum(left, 0)).mean(-1)
    return found
