"""Which eyes of a clip become eye windows.

Pure: knows keypoints and pictures; no files, no codec.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small_config import EYE_KEYPOINTS
from model.source.mixing import Sights, choose_windows
from model.source.quality import sharpness
from model.source.texture import EYE_TEXTURE
from model.window.eyes import NEARNESS, eye_coordinates, eye_distance, usable

_SHARP = 0.8  # sharpness as a share of the clip's median that is sharp enough


def eye_points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Keypoints of both eyes, (..., 2, 5, 2), crop units; NumPy arrays."""
    points: NDArray[np.float32] = compose(canonical, motion)[..., np.array(EYE_KEYPOINTS), :2]
    return points


class EyeSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self) -> None:
        self._points: list[NDArray[np.float32]] = []
        self._textures: list[list[NDArray[np.float32]]] = []  # of the left and the right eye
        self._sharpness: list[float] = []
        self._measured: list[bool] = []

    def consider(self, crop: NDArray[np.uint8], points: NDArray[np.float32], measured: bool) -> None:
        """A frame: its crop (S, S, 3), `eye_points` (2, 5, 2), and whether its face could be measured."""
        self._points.append(points)
        self._textures.append([EYE_TEXTURE.texture(crop, eye) for eye in points])
        self._sharpness.append(sharpness(crop))
        self._measured.append(measured)

    def best(self, source: int, count: int) -> list[tuple[int, NDArray[np.float32]]]:
        """At most `count` frames to cut windows from, and where, beside the frame that is the source image."""
        if not self._points:
            return []
        points, textures = np.stack(self._points), np.array(self._textures)
        sharp = np.array(self._sharpness) >= _SHARP * np.median(self._sharpness)
        clear = usable(points) & sharp & np.array(self._measured)
        shapes = eye_coordinates(points)
        eyes = [Sights(shapes[:, side], textures[:, side], eye_distance, NEARNESS) for side in (0, 1)]
        return [(i, points[i]) for i in choose_windows(eyes, source, clear, count)]
