"""Whether the camera of a clip stands still: what moves a background is in no keypoint, and so can not be learned.

Pairs of frames whose background moves teach dense motion to drag backgrounds along with heads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.train.correspondence import pixel_motion

STEADY = 2.0
"""Pixels of 256 that the background of a steady clip moves at most between two frames, median over the background."""

_LOST = 9.0  # pixels that count for a background of which optical flow finds less than a third again
_NEAR = 45  # pixels around the face that are hair and neck
_TEXTURE = 400.0  # squared gradient from which there is something to see move
_LEAST = 150  # pixels of background that say something


def background_motion(frames: NDArray[np.uint8], meshes: NDArray[np.float32]) -> float | None:
    """How far the background moves between two frames of a clip, mean of P pairs, in pixels; None without texture.

    frames  (P, 2, S, S, 3) RGB
    meshes  (P, 2, N, 2) landmarks in crop units

    Needs OpenCV, a training dependency.
    """
    import cv2

    size = frames.shape[2]
    y = np.arange(size)[:, None]
    moved = []
    for pair, mesh in zip(frames, meshes, strict=True):
        one, other = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair)
        there, consistent = pixel_motion(one, other)
        points = ((mesh.reshape(-1, 2) + 1) * size / 2).astype(np.int32)
        head = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(head, cv2.convexHull(points), 1)
        head = cv2.dilate(head, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8))
        slope = cv2.Sobel(one, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(one, cv2.CV_32F, 0, 1) ** 2
        background = (head == 0) & (y < points[:, 1].max()) & (slope > _TEXTURE)
        if background.sum() < _LEAST:
            continue
        found = background & consistent
        distance = np.linalg.norm(there, axis=-1)[found]
        moved.append(float(np.median(distance)) if found.sum() > 0.3 * background.sum() else _LOST)
    return float(np.mean(moved)) if moved else None
