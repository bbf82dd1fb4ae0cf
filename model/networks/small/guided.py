"""The face's keypoints where landmarks have them: 36 of MediaPipe's 478, named in `GUIDED`.

What the motion extractor says of the whole head (pose, hair, neck, body) stays; of the face it is replaced, since a
network that was taught by 180 people loses expression that published weights keep.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion, angles, compose, rotation_matrix
from model.networks.small_config import GUIDED

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


def following(
    motion: Motion,
    canonical: CanonicalKeypoints,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    layout: KeypointLayout,
) -> Motion:
    """Motion of NumPy arrays whose head moves on as its landmarks do, from `before` to `after`, (478, 3) in crop units.

    motion      of the frame that `before` is of, no batch shape
    canonical   (K, 3) to which the motion's expression is relative
    The body stays where it is.
    """
    turn, size, shift = _rigid(_still(before), _still(after))
    rotation = turn @ rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    yaw, pitch, roll = angles(rotation)
    scale = size * motion.scale
    translation = size * turn @ motion.translation + shift
    expression = motion.expression @ turn.T
    body = layout.body
    still = compose(canonical, motion)[body]
    expression[body] = (still - translation) / scale - canonical.points[body] @ rotation.T
    return replace(
        motion,
        yaw=np.asarray(yaw, np.float32),
        pitch=np.asarray(pitch, np.float32),
        roll=np.asarray(roll, np.float32),
        translation=translation.astype(np.float32),
        scale=np.float32(scale),
        expression=expression.astype(np.float32),
    )


def _still(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those that expression leaves in place, (N, 3); z from their middle, as depth of landmarks has no origin."""
    points = landmarks[list(STILL)]
    points[:, 2] -= points[:, 2].mean()
    return points


def _rigid(
    points: NDArray[np.float32], onto: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float, NDArray[np.float32]]:
    """Rotation (3, 3), scale and shift (3,) that take points (N, 3) onto others, least squares (Umeyama 1991)."""
    p, q = points - points.mean(0), onto - onto.mean(0)
    u, s, vt = np.linalg.svd(q.T @ p)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    size = float((s * signs).sum() / max(float((p * p).sum()), 1e-9))
    shift = onto.mean(0) - size * rotation @ points.mean(0)
    return rotation.astype(np.float32), size, shift.astype(np.float32)


def with_canonical(motion: Motion, now: CanonicalKeypoints, then: CanonicalKeypoints, count: int) -> Motion:
    """Motion (...) of NumPy arrays relative to keypoints `then`, the first `count` staying where `now` has them.

    Two source images of one person have canonical keypoints a little apart; a face that was measured does not move
    because of that.
    """
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    expression = motion.expression.copy()
    expression[..., :count, :] += (now.points[:count] - then.points[:count]) @ rotation.swapaxes(-1, -2)
    return replace(motion, expression=expression.astype(np.float32))
