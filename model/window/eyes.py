"""Eye windows: small pictures of one person's eyes at one moment, beside the source image, which may look elsewhere.

Eye coordinates are those of an eye's corners (`corners.py`). A window holds both eyes side by side, each upright in its
own coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.window.corners import CORNERS, FURTHEST, UNIT, corner_coordinates
from model.window.nearness import Nearness

EYE_POINTS = 5
"""Keypoints of an eye: left and right corner, upper and lower lid, iris (`EYE_KEYPOINTS` of small_config.py)."""

HALF = 1.6
"""Half of the side of an eye's picture, eye coordinates: lashes and the fold above the lid are in it, brows are not."""

MIN_SIDE, MAX_SIDE = 24, 64
"""Pixels of an eye's picture: an eye has 20 to 35 between its corners of a picture of 256."""

MAX_WINDOWS = 12
"""Beside one source image."""

STAYING = ((-1.7, 0.0), (1.7, 0.0), (-0.8, -1.1), (0.8, -1.1), (-0.8, 1.0), (0.8, 1.0))
"""Places around an eye, eye coordinates, that no look moves."""

NEARNESS = Nearness(over=0.02, as_near=0.04, far=0.1)
"""By `eye_distance`."""

_LEAST_WIDTH = 0.06  # crop units between the corners: 8 pixels of 256
_WEIGHTS = np.array([(0.3, 1.0), (0.3, 1.0), (0.7, 0.7)], np.float32)  # u and v of upper lid, lower lid, iris


@dataclass(frozen=True)
class EyeWindow:
    """A picture of both eyes and where their keypoints are."""

    picture: NDArray[np.uint8]  # (W, 2 W, 3) RGB, the eye left of the picture first
    lids: NDArray[np.float32]  # (2, 3, 2) eye coordinates of upper lid, lower lid and iris

    @property
    def points(self) -> NDArray[np.float32]:
        """All keypoints of both eyes, (2, 5, 2), eye coordinates."""
        corners = np.broadcast_to(np.array(CORNERS, np.float32), (2, 2, 2))
        return np.concatenate([corners, self.lids], 1)


def usable(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a window can be cut at keypoints (..., 2, 5, 2) in crop units: wholly in the crop, and large enough."""
    width = np.linalg.norm(points[..., 1, :] - points[..., 0, :], axis=-1)
    middle, axis = (points[..., 0, :] + points[..., 1, :]) / 2, (points[..., 1, :] - points[..., 0, :]) / 2
    wholly = (np.abs(middle) + HALF * np.abs(axis).sum(-1, keepdims=True) < 1).all(-1)
    inside = wholly & (np.abs(points) < 1).all((-1, -2))
    near = (np.abs(corner_coordinates(points)) < FURTHEST).all((-1, -2))
    found: NDArray[np.bool_] = (inside & near & (width >= _LEAST_WIDTH)).all(-1)
    return found


def eye_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """How differently two eyes are opened and look, (...), of eye coordinates (..., 5, 2) each; 0: alike."""
    square = (_WEIGHTS * (a[..., 2:, :] - b[..., 2:, :]) ** 2).sum((-1, -2)) / len(_WEIGHTS)
    distance: NDArray[np.float32] = np.sqrt(square).astype(np.float32)
    return distance


def cut_window(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> EyeWindow:
    """The window on both eyes in a crop uint8 (S, S, 3) whose keypoints (2, 5, 2), crop units, are `usable`."""
    side = len(picture)
    lids = np.round(corner_coordinates(points)[:, 2:] / UNIT) * UNIT
    axes = (points[:, 1] - points[:, 0]).astype(np.float64) / 2
    pixels = float(np.linalg.norm(axes, axis=-1).max()) * side * HALF
    width = int(np.clip(8 * np.ceil(pixels / 8), MIN_SIDE, MAX_SIDE))
    step = HALF * side / width  # from window pixels to picture pixels, along the axis
    image, eyes = Image.fromarray(picture), []
    for (left, right), axis in zip(points[:, :2].astype(np.float64), axes, strict=True):
        # Pixel (x, y) of the eye lies at u = HALF (2 x / W - 1), v likewise; and crop units are the middle + u axis +
        # v (axis turned by a right angle).
        down = np.array([-axis[1], axis[0]])
        corner = ((left + right) / 2 - HALF * axis - HALF * down + 1) * side / 2
        a, b = axis * step, down * step
        affine = (a[0], b[0], corner[0], a[1], b[1], corner[1])
        eye = image.transform((width, width), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        eyes.append(np.asarray(eye, np.uint8))
    return EyeWindow(np.concatenate(eyes, 1), lids.astype(np.float32))
