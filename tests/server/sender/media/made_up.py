"""Made-up motion and pictures that a second implementation makes alike (tests/client_web/made_up.mjs)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints
from model.networks.small_config import SMALL

KEYPOINTS = SMALL.keypoints
CROP = 256


def surroundings(x0: int, y0: int, other: bool, light: int) -> NDArray[np.uint8]:
    """A made-up crop (256, 256, 3), seen from `x0`, `y0` on, or of something `other`, by so much more light."""
    x, y = np.arange(CROP) + 1000 + x0, (np.arange(CROP) + 1000 + y0)[:, None]
    waves = ((5, 2, 90), (1, -4, 70), (3, 7, 140)) if other else ((3, 1, 94), (1, -2, 62), (2, 5, 150))
    grey = sum(np.abs((a * x + b * y + 9000) % (2 * period) - period) for a, b, period in waves)
    values: NDArray[np.uint8] = (grey * 200 // 306 + light).astype(np.uint8)
    return np.repeat(values[..., None], 3, -1)


def vector(seed: int) -> NDArray[np.float32]:
    """A made-up motion vector: exact in binary."""
    pose = [4.0 * (seed % 5) - 8, 2.0 - seed % 3, 0.75 * seed, 1 + seed / 64, seed / 128, -seed / 256, 0]
    expression = [((seed * 7 + 3 * i) % 11 - 5) / 256 for i in range(3 * KEYPOINTS)]
    return np.array([*pose, *[0] * 4, *expression, *[0] * 128], np.float32)


def canonical(seed: int) -> CanonicalKeypoints:
    """Made-up canonical keypoints (K, 3)."""
    values = [((seed * 5 + 7 * i) % 37 - 18) / 32 for i in range(3 * KEYPOINTS)]
    return CanonicalKeypoints(np.array(values, np.float32).reshape(-1, 3))


def rounded(values: Any) -> list[float]:
    """All numbers in an array, as a golden vector has them."""
    flat = np.asarray(values, np.float64).ravel()
    return [round(float(value), 5) for value in flat]
