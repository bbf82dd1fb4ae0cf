"""Textures of mouths: their pictures moved onto one shape of lips, so that they can be compared and mixed.

What lips show, teeth, tongue or a dark gap, does not follow from their shape. Shape and texture apart are active
appearance models' way to describe a face (Cootes, Edwards and Taylor 1998). Pure: knows pictures and keypoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COLUMNS, _ROWS = 24, 16
TEXTURE_SIZE = _COLUMNS * _ROWS

# The mean lips of fourteen people who talk, mouth coordinates, in the order of `model.mouth_window.MOUTH_POINTS`.
_CORNERS, _MIDDLE = [(-1, 0), (1, 0)], [(0, -0.37), (0, 0.61), (0, -0.12), (0, 0.21)]
_LIPS = np.array([*_CORNERS, *_MIDDLE, (-0.8, -0.21), (0.8, -0.21), (-0.8, 0.3), (0.8, 0.3)])
_BESIDE, _BEYOND = 0.25, 0.3  # mouth coordinates of skin beside and beyond them that are seen, as a window shows them
_STIFF = 0.005  # of the spline: closed lips put two keypoints in one place
_DARKEST = 1.0  # of 255: a mouth without light


def _places() -> NDArray[np.float32]:
    """Matrix (P, 10) that gives the points of the texture from ten keypoints: a thin-plate spline (Bookstein 1989).

    Affine maps pass through, so that keypoints may be of any coordinates.
    """
    u = np.linspace(-1 - _BESIDE, 1 + _BESIDE, _COLUMNS)
    v = np.linspace(_LIPS[:, 1].min() - _BEYOND, _LIPS[:, 1].max() + _BEYOND, _ROWS)
    grid = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    count = len(_LIPS)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bend(_LIPS, _LIPS) + _STIFF * np.eye(count)
    system[:count, count:] = np.c_[np.ones(count), _LIPS]
    system[count:, :count] = system[:count, count:].T
    known = np.c_[_bend(grid, _LIPS), np.ones(len(grid)), grid]
    places: NDArray[np.float32] = (known @ np.linalg.inv(system)[:, :count]).astype(np.float32)
    return places


def _bend(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    square = ((a[:, None] - b) ** 2).sum(-1)
    bent: NDArray[np.float64] = square * np.log(square + 1e-6)
    return bent


_PLACES = _places()


def mouth_texture(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Texture (TEXTURE_SIZE,) of a mouth: grey as a multiple of its mean.

    crop uint8 (S, S, 3) RGB, points (10, 2) keypoints of the mouth in crop units; beyond the crop its border goes on
    """
    side = len(crop)
    at = np.clip(((_PLACES @ points + 1) * side - 1) / 2, 0, side - 1)
    first = np.minimum(at.astype(np.intp), side - 2)
    x, y = first.T
    part = (at - first)[..., None]
    top = crop[y, x] * (1 - part[:, 0]) + crop[y, x + 1] * part[:, 0]
    bottom = crop[y + 1, x] * (1 - part[:, 0]) + crop[y + 1, x + 1] * part[:, 0]
    grey = (top * (1 - part[:, 1]) + bottom * part[:, 1]).mean(-1)
    texture: NDArray[np.float32] = (grey / max(float(grey.mean()), _DARKEST)).astype(np.float32)
    return texture
