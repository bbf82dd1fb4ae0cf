"""Textures of mouths and eyes: their pictures moved onto one shape, so that they can be compared and mixed.

What lips show, teeth, tongue or a dark gap, does not follow from their shape. Shape and texture apart are active
appearance models' way to describe a face (Cootes, Edwards and Taylor 1998). Pure: knows pictures and keypoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.window.corners import corner_coordinates
from model.window.eyes import STAYING

_STIFF = 0.005  # of the spline: closed lips put two keypoints in one place
_DARKEST = 1.0  # of 255: a face without light


class TextureMap:
    """Takes textures of one feature, whose first two keypoints are its corners."""

    def __init__(
        self,
        shape: NDArray[np.float64],
        staying: NDArray[np.float64],
        extent: tuple[float, float, float, float],
        size: tuple[int, int],
    ) -> None:
        """All in coordinates of the corners, which lie at u = -1 and 1.

        shape    (K, 2) keypoints of the feature as textures have it
        staying  (A, 2) places that no expression moves
        extent   least u and v, and largest, of a texture
        size     its columns and rows
        """
        left, top, right, bottom = extent
        columns, rows = size
        grid = np.stack(np.meshgrid(np.linspace(left, right, columns), np.linspace(top, bottom, rows)), -1)
        known = np.concatenate([shape, staying])
        count = len(known)
        # A thin-plate spline (Bookstein 1989): a fixed matrix, as the shape that it starts from is fixed.
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = _bend(known, known) + _STIFF * np.eye(count)
        system[:count, count:] = np.c_[np.ones(count), known]
        system[count:, :count] = system[:count, count:].T
        at = grid.reshape(-1, 2)
        self._places = np.c_[_bend(at, known), np.ones(len(at)), at] @ np.linalg.inv(system)[:, :count]  # (P, K + A)
        self._staying = staying
        self.size = len(at)

    def texture(self, crop: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Texture (size,): grey as a multiple of its mean.

        crop uint8 (S, S, 3) RGB, points (K, 2) keypoints in crop units; beyond the crop its border goes on
        """
        side = len(crop)
        u, v = (self._places @ np.concatenate([corner_coordinates(points), self._staying])).T[..., None]
        middle, axis = (points[0] + points[1]) / 2, (points[1] - points[0]) / 2
        place = middle + u * axis + v * np.array([-axis[1], axis[0]])  # crop units
        at = np.clip(((np.nan_to_num(place) + 1) * side - 1) / 2, 0, side - 1)
        first = np.minimum(at.astype(np.intp), side - 2)
        x, y = first.T
        part = (at - first)[..., None]
        top = crop[y, x] * (1 - part[:, 0]) + crop[y, x + 1] * part[:, 0]
        bottom = crop[y + 1, x] * (1 - part[:, 0]) + crop[y + 1, x + 1] * part[:, 0]
        grey = (top * (1 - part[:, 1]) + bottom * part[:, 1]).mean(-1)
        texture: NDArray[np.float32] = (grey / max(float(grey.mean()), _DARKEST)).astype(np.float32)
        return texture


def _bend(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    square = ((a[:, None] - b) ** 2).sum(-1)
    bent: NDArray[np.float64] = square * np.log(square + 1e-6)
    return bent


# The mean lips of fourteen people who talk, in the order of `model.window.mouth.MOUTH_POINTS`.
_MIDDLE = [(0, -0.37), (0, 0.61), (0, -0.12), (0, 0.21)]
_LIPS = np.array([(-1, 0), (1, 0), *_MIDDLE, (-0.8, -0.21), (0.8, -0.21), (-0.8, 0.3), (0.8, 0.3)])

MOUTH_TEXTURE = TextureMap(_LIPS, np.zeros((0, 2)), (-1.25, -0.67, 1.25, 0.91), (24, 16))
"""Of a mouth with the skin that a window shows beside it."""

_EYE = np.array([(-1, 0), (1, 0), (0, -0.28), (0, 0.25), (0, 0)])
_STAYING = np.array(STAYING)

EYE_TEXTURE = TextureMap(_EYE, _STAYING, (-1.2, -0.65, 1.2, 0.55), (24, 14))
"""Of one eye with its lids."""

EYE_AREA = TextureMap(_EYE, _STAYING, (-1.5, -1.2, 1.5, 1.1), (20, 14))
"""Of one eye with the skin up to brow and cheek, by which it is known again."""
