"""Coordinates of a mouth or an eye by its two corners: they lie at u = -1 and u = 1; v is perpendicular to the line
between them, down, in that unit. Whatever head pose and size a picture shows, they are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORNERS = ((-1.0, 0.0), (1.0, 0.0))

UNIT = 1 / 48
"""Step of coordinates as they travel; a mouth 50 pixels wide has half a pixel a step."""

FURTHEST = 127 * UNIT
"""From there on coordinates do not travel."""


def corner_coordinates(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keypoints (..., K, 2) of a picture, the corners first, in coordinates of the corners."""
    middle = (points[..., :1, :] + points[..., 1:2, :]) / 2
    axis = (points[..., 1:2, :] - points[..., :1, :]) / 2
    offset = points - middle
    square = np.maximum((axis * axis).sum(-1), 1e-8)
    u = (offset * axis).sum(-1) / square
    v = (offset[..., 1] * axis[..., 0] - offset[..., 0] * axis[..., 1]) / square
    return np.stack([u, v], -1).astype(np.float32)
