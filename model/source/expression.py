"""What an expression shows: how far the eyes and the mouth are open.

Read off the guided keypoints of the `small` profile, which begin the keypoint list of every model trained from it.
Measured in the face's own frame (x_c + delta, before rotation), so head pose does not enter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.motion import Array, CanonicalKeypoints, Motion, rotation_matrix
from model.networks.small_config import GUIDED

_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))  # outer corner, inner corner, upper lid, lower lid
_MOUTH = (61, 291, 13, 14)  # corners, inner upper and lower lip


def eye_openness(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Lid distance in eye widths, the less open eye of the two, shape (...): about 0.3 open, under 0.15 in a blink."""
    points = _face_frame(canonical, motion)
    ratios = [_opening(points, *eye) for eye in _EYES]
    return np.minimum(*ratios)


def mouth_opening(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Distance of the inner lips in mouth widths, shape (...): about 0 closed, 0.5 wide open."""
    return _opening(_face_frame(canonical, motion), *_MOUTH)


def _face_frame(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Keypoints without head pose, (..., K, 3): x_c + R^-1 delta, since x = s (R x_c + delta) + t."""
    yaw, pitch, roll, delta, points = (
        _numpy(a) for a in (motion.yaw, motion.pitch, motion.roll, motion.expression, canonical.points)
    )
    moved: NDArray[np.float32] = points + delta @ rotation_matrix(yaw, pitch, roll)  # rows: (R^T delta)^T
    return moved


def _opening(points: NDArray[np.float32], left: int, right: int, upper: int, lower: int) -> NDArray[np.float32]:
    def at(mesh_index: int) -> NDArray[np.float32]:
        return points[..., GUIDED.index(mesh_index), :2]

    width = np.linalg.norm(at(left) - at(right), axis=-1)
    height = np.linalg.norm(at(upper) - at(lower), axis=-1)
    ratio: NDArray[np.float32] = (height / np.maximum(width, 1e-6)).astype(np.float32)
    return ratio


def _numpy(x: Array) -> NDArray[Any]:
    return np.asarray(x.detach().cpu().float() if hasattr(x, "detach") else x, np.float32)
