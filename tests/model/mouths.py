"""Mouths for tests: keypoints of lips that are so far open, and pictures of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.small_config import GUIDED, MOUTH

SKIN, LIPS, TEETH = (200, 150, 130), (150, 60, 60), (240, 240, 235)


def lips(opening: float, middle: tuple[float, float] = (0.0, 0.4), half: float = 0.25) -> NDArray[np.float32]:
    """Keypoints (10, 2) of a level mouth, crop units; `opening` of the inner lips in half mouth widths."""
    inner = opening / 2
    points: list[tuple[float, float]] = [(-1, 0), (1, 0), (0, -inner - 0.3), (0, inner + 0.3), (0, -inner), (0, inner)]
    outer = 0.86 * (inner + 0.3)
    points += [(-0.5, -outer), (0.5, -outer), (-0.5, outer), (0.5, outer)]
    return np.array(middle, np.float32) + half * np.array(points, np.float32)


def face(points: NDArray[np.float32]) -> Tensor:
    """Guided keypoints (36, 2) with that mouth."""
    keypoints = torch.zeros(len(GUIDED), 2)
    keypoints[list(MOUTH)] = torch.from_numpy(points)
    return keypoints


def picture(points: NDArray[np.float32], inside: tuple[int, int, int] = TEETH, size: int = 256) -> NDArray[np.uint8]:
    """Skin (S, S, 3), on it the outer lips as an ellipse, in it `inside`, as the keypoints (10, 2) have them."""
    axis = (np.arange(size) * 2 + 1) / size - 1
    (x0, y0), (x1, _) = points[0], points[1]
    u, v = (axis[None] - (x0 + x1) / 2) / ((x1 - x0) / 2), (axis[:, None] - y0) / ((x1 - x0) / 2)
    outer, inner = ((points[i, 1] - y0) / ((x1 - x0) / 2) for i in (3, 5))
    image = np.empty((size, size, 3), np.uint8)
    image[:] = SKIN
    image[u**2 + (v / outer) ** 2 < 1] = LIPS
    if inner > 0:
        image[(u / 0.8) ** 2 + (v / inner) ** 2 < 1] = inside
    return image
