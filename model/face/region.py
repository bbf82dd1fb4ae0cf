"""Where in a frame the landmark network looks for a face, and where its landmarks lie in the head's crop."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.face.box import Box
from model.face.crop import Crop
from model.landmarks.roi import AROUND, Region
from model.motion import Motion


def face_region(crop: Crop, motion: Motion) -> Region:
    """Where in a frame, pixels, the face is whose motion (NumPy, no batch shape) was extracted from its crop."""
    pose = (float(motion.yaw), float(motion.pitch), float(motion.roll), float(motion.scale))
    face = Box.from_pose(crop, *pose, motion.translation)
    return Region(face.x - 0.5, face.y - 0.5, AROUND * face.height, math.radians(pose[2]))


def in_crop_units(points: NDArray[np.float32], crop: Crop) -> NDArray[np.float32]:
    """Landmarks (478, 3) of a frame, pixels whose middle is a whole number, in units of a crop of it."""
    flat = (points[:, :2] + 0.5 - np.array([crop.x, crop.y])) * (2 / crop.side)
    return np.concatenate([flat, points[:, 2:] * (2 / crop.side)], 1).astype(np.float32)
