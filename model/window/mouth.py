"""Mouth windows: small pictures of one person's mouth, beside the source image, which may show closed lips.

Mouth coordinates are those of its corners (`corners.py`). A window is cut upright in these coordinates, so it needs no
place in a picture and no head pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.window.corners import CORNERS, FURTHEST, UNIT, corner_coordinates
from model.window.nearness import Nearness

MOUTH_POINTS = 10
"""Keypoints of the mouth: both corners; outer upper and lower lip, inner upper and lower lip; four of the outer lips
between corner and middle (`MOUTH` in model/networks/small_config.py)."""

MIN_SIDE, MAX_SIDE = 32, 96
"""Pixels of a window: a mouth has 40 to 60 of a picture of 256."""

MAX_WINDOWS = 48
"""Beside one source image; together they take some 14 kB (docs/experiments/mouth-windows.md)."""

NEARNESS = Nearness(over=0.0125, as_near=0.045, far=0.08, many=24)
"""By `shape_distance`. The more windows there are, the less the source image counts as nearer: the nearest of many is
seldom stretched far."""

_AROUND = 0.25  # mouth coordinates around the lips: skin, by which colours are matched
_LEAST_HALF = 1.25
_LEAST_WIDTH = 0.08  # crop units between the corners: 10 pixels of 256


@dataclass(frozen=True)
class MouthWindow:
    """A picture of a mouth and where its keypoints are."""

    picture: NDArray[np.uint8]  # (W, W, 3) RGB
    lips: NDArray[np.float32]  # (8, 2) mouth coordinates of all keypoints but the corners
    middle: float  # v of the picture's middle; its u is 0
    half: float  # half of its side

    @property
    def points(self) -> NDArray[np.float32]:
        """All keypoints, (10, 2), mouth coordinates."""
        return np.concatenate([np.array(CORNERS, np.float32), self.lips])


def usable(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a window can be cut at keypoints (..., 10, 2) in crop units: wholly in the crop, and large enough."""
    width = np.linalg.norm(points[..., 1, :] - points[..., 0, :], axis=-1)
    inside = (np.abs(points) < 1).all((-1, -2))
    near = (np.abs(corner_coordinates(points)) < FURTHEST).all((-1, -2))
    found: NDArray[np.bool_] = inside & near & (width >= _LEAST_WIDTH)
    return found


def shape_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """How differently two mouths are opened, (...), of mouth coordinates (..., 10, 2) each; 0: alike.

    Root of the mean square of what a similarity leaves of their difference, in half widths of the second mouth: place,
    size and roll of the head do not count.
    """
    p, q = (x[..., 0] + 1j * x[..., 1] for x in (a, b))
    p, q = p - p.mean(-1, keepdims=True), q - q.mean(-1, keepdims=True)
    factor = (p.conj() * q).sum(-1) / np.maximum((np.abs(p) ** 2).sum(-1), 1e-9)  # Umeyama 1991, in two dimensions
    distance: NDArray[np.float32] = np.sqrt((np.abs(factor[..., None] * p - q) ** 2).mean(-1)).astype(np.float32)
    return distance


def cut_window(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> MouthWindow:
    """The window on a mouth in a crop uint8 (S, S, 3) whose keypoints (10, 2), crop units, are `usable`."""
    side = len(picture)
    corners = points[:2].astype(np.float64)
    lips = np.round(corner_coordinates(points)[2:] / UNIT) * UNIT
    low, high = min(0.0, float(lips[:, 1].min())), max(0.0, float(lips[:, 1].max()))
    middle = round((low + high) / 2 / UNIT) * UNIT
    half = min(255 * UNIT, round(max(_LEAST_HALF, (high - low) / 2 + _AROUND) / UNIT) * UNIT)
    place, axis = (corners[0] + corners[1]) / 2, (corners[1] - corners[0]) / 2
    pixels = float(np.linalg.norm(axis)) * side * half
    width = int(np.clip(8 * np.ceil(pixels / 8), MIN_SIDE, MAX_SIDE))
    # Pixel (x, y) of the window lies at u = half (2 x / W - 1), v = middle + half (2 y / W - 1); and crop units are
    # place + u axis + v (axis turned by a right angle).
    step = half * side / width  # from window pixels to picture pixels, along the axis
    down = np.array([-axis[1], axis[0]])
    corner = (place - half * axis + (middle - half) * down + 1) * side / 2
    a, b = axis * step, down * step
    image = Image.fromarray(picture).transform(
        (width, width),
        Image.Transform.AFFINE,
        (a[0], b[0], corner[0], a[1], b[1], corner[1]),
        Image.Resampling.BICUBIC,
    )
    return MouthWindow(np.asarray(image, np.uint8), lips.astype(np.float32), middle, half)
