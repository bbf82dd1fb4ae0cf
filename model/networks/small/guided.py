"""The face's keypoints where landmarks have them: 36 of MediaPipe's 478, named in `GUIDED`.

What the motion extractor says of the whole head (pose, hair, neck, body) stays; of the face it is replaced, since a
network that was taught by 180 people loses expression that published weights keep.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, rotation_matrix
from model.networks.small.config import GUIDED

STILL = (
    *(10, 151, 9, 8, 168, 6, 197, 195),
    *(33, 263, 133, 362, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356),
    *(234, 454, 116, 345, 123, 352, 122, 351),
)
"""Landmarks that expression leaves in place: midline of forehead and nose, pairs of eye corners, temples and cheeks."""


def face_points(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Face keypoints (..., 36, 3) of landmarks (..., 478, 3) in crop units; z from the middle of the still ones."""
    points = landmarks[..., list(GUIDED), :].copy()
    points[..., 2] -= landmarks[..., list(STILL), 2].mean(-1, keepdims=True)
    return points


def with_face(motion: Motion, canonical: CanonicalKeypoints, points: NDArray[np.float32]) -> Motion:
    """Motion (...) of NumPy arrays whose face keypoints lie at `points` (..., J, 3), crop units: x = s (R x_c + d) + t.

    canonical   (K, 3) to which the motion's expression is relative
    """
    count = points.shape[-2]
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    placed = (points - motion.translation[..., None, :]) / motion.scale[..., None, None]
    expression = motion.expression.copy()
    expression[..., :count, :] = placed - canonical.points[:count] @ rotation.swapaxes(-1, -2)
    return replace(motion, expression=expression.astype(np.float32))


def with_canonical(motion: Motion, now: CanonicalKeypoints, then: CanonicalKeypoints, count: int) -> Motion:
    """Motion (...) of NumPy arrays relative to keypoints `then`, the first `count` staying where `now` has them.

    Two source images of one person have canonical keypoints a little apart; a face that was measured does not move
    because of that.
    """
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    expression = motion.expression.copy()
    expression[..., :count, :] += (now.points[:count] - then.points[:count]) @ rotation.swapaxes(-1, -2)
    return replace(motion, expression=expression.astype(np.float32))
