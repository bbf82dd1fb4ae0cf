"""Eyes for tests: keypoints of two eyes that are so far open and look so far aside, and pictures of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.small_config import EYE_KEYPOINTS, GUIDED

SKIN, BROW, WHITE, IRIS = (200, 150, 130), (90, 60, 50), (235, 235, 235), (60, 40, 30)


def eyes(opening: float, aside: float = 0.0, middle: tuple[float, float] = (0.0, -0.2)) -> NDArray[np.float32]:
    """Keypoints (2, 5, 2) of level eyes, crop units; `opening` of the lids in half eye widths, iris at u = `aside`."""
    half = 0.12
    eye = np.array([(-1, 0), (1, 0), (0, -0.6 * opening), (0, 0.4 * opening), (aside, -0.1 * opening)], np.float32)
    return np.stack([np.array(middle, np.float32) + np.array((x, 0), np.float32) + half * eye for x in (-0.25, 0.25)])


def face(points: NDArray[np.float32]) -> Tensor:
    """Guided keypoints (36, 2) with those eyes."""
    keypoints = torch.zeros(len(GUIDED), 2)
    for which, eye in zip(EYE_KEYPOINTS, points, strict=True):
        keypoints[list(which)] = torch.from_numpy(eye)
    return keypoints


def picture(points: NDArray[np.float32], size: int = 256) -> NDArray[np.uint8]:
    """Skin (S, S, 3), on it both eyes as the keypoints (2, 5, 2) have them, under brows, and something sharp below, as
    in any film.
    """
    axis = (np.arange(size) * 2 + 1) / size - 1
    image = np.empty((size, size, 3), np.uint8)
    image[:] = SKIN
    image[size * 3 // 4 :] = np.random.default_rng(0).integers(0, 256, (size - size * 3 // 4, size, 1))
    for left, right, upper, lower, iris in points:
        x, half = (left[0] + right[0]) / 2, (right[0] - left[0]) / 2
        u, v = (axis[None] - x) / half, (axis[:, None] - left[1]) / half
        image[(np.abs(v + 1) < 0.2) & (np.abs(u) < 1.2)] = BROW
        arch = np.clip(1 - u * u, 0, 1)
        inside = (v > (upper[1] - left[1]) / half * arch) & (v < (lower[1] - left[1]) / half * arch) & (np.abs(u) < 1)
        round_iris = (u - (iris[0] - x) / half) ** 2 + (v - (iris[1] - left[1]) / half) ** 2 < 0.35**2
        image[inside] = WHITE
        image[inside & round_iris] = IRIS
    return image
