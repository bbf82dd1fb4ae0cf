"""Which mouths are worth a window: those that the source image and the present windows cover least.

Pure: knows keypoints and pictures; no files, no codec. A mouth is covered as well as the nearest picture of it is near
(`shape_distance`), up to the distance at which pictures are worth the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.mouth_window import AS_NEAR, mouth_coordinates, shape_distance, usable
from model.networks.small_config import MOUTH
from model.source.quality import sharpness

LEAST_GAIN = 0.002
"""By how much a window must bring the mouths of all frames nearer to their pictures, in the mean, to be worth it."""

_SHARP = 0.8  # sharpness as a share of the clip's median that is sharp enough

MOST_FRAMES = 240
"""Of a long clip fewer are looked at: each is compared with each."""


def mouth_points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Keypoints of the mouth, (..., 10, 2), crop units; NumPy arrays."""
    points: NDArray[np.float32] = compose(canonical, motion)[..., list(MOUTH), :2]
    return points


class WindowSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self) -> None:
        self._points: list[NDArray[np.float32]] = []
        self._sharpness: list[float] = []
        self._measured: list[bool] = []

    def consider(self, crop: NDArray[np.uint8], points: NDArray[np.float32], measured: bool) -> None:
        """A frame: its crop (S, S, 3), `mouth_points` (10, 2), and whether its face could be measured."""
        self._points.append(points)
        self._sharpness.append(sharpness(crop))
        self._measured.append(measured)

    def best(self, source: int, count: int) -> list[tuple[int, NDArray[np.float32]]]:
        """At most `count` frames to cut windows from, and where, beside the frame that is the source image."""
        if not self._points:
            return []
        points = np.stack(self._points)
        sharp = np.array(self._sharpness) >= _SHARP * np.median(self._sharpness)
        clear = usable(points) & sharp & np.array(self._measured)
        shapes = mouth_coordinates(points)
        return [(i, points[i]) for i in choose_windows(shapes, shapes[source], clear, count)]


def choose_windows(
    shapes: NDArray[np.float32], source: NDArray[np.float32], clear: NDArray[np.bool_], count: int
) -> list[int]:
    """Indices of the frames of a clip whose mouths become windows, at most `count`, the most useful first.

    shapes  (T, 10, 2) mouth coordinates of all frames
    source  (10, 2) those of the source image
    clear   (T,) which frames can be cut: measured, sharp, `usable`
    """
    step = -(-len(shapes) // MOST_FRAMES)
    candidates = np.flatnonzero(clear)[:: max(1, -(-int(clear.sum()) // MOST_FRAMES))]
    seen = shapes[::step]
    away = np.maximum(shape_distance(source, seen) - AS_NEAR, 0)  # the source image wins ties
    chosen: list[int] = []
    distances = np.array([shape_distance(shapes[i], seen) for i in candidates]).reshape(len(candidates), len(seen))
    while len(chosen) < count and len(candidates):
        gains = np.maximum(away - distances, 0).mean(1)
        best = int(gains.argmax())
        if gains[best] < LEAST_GAIN:
            break
        chosen.append(int(candidates[best]))
        away = np.minimum(away, distances[best])
    return chosen
