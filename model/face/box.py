"""A face in a frame, and the same face from a head pose in crop units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import NoFaceError, SeveralFacesError
from model.face.crop import Crop
from model.motion import rotation_matrix

_POSE_HEIGHT = 1.229
"""Forehead to chin of the mean face that head pose is measured against (eye distance 0.45), at scale 1."""
_POSE_CENTRE = np.array([0.0, 0.297, 0.0], np.float32)
"""Middle of the face between forehead and chin, in the mean face's own axes."""
_FOREHEAD, _CHIN = 10, 152
"""Landmarks at the hairline and at the chin."""
_BELOW = 0.018
"""The middle of a head pose's face lies so many heights below the middle of these (median over 50 people)."""


@dataclass(frozen=True)
class Box:
    """One face in pixels of the frame: where its middle is and how tall it is from hairline to chin."""

    x: float
    y: float
    height: float
    score: float = 1.0  # of the detector, in [0.4, 1]; below 0.6 it is easily something else

    @staticmethod
    def from_pose(crop: Crop, yaw: float, pitch: float, roll: float, scale: float, translation: Sequence[float]) -> Box:
        """The face that a head pose (degrees, crop units of `crop`; `model.motion.Motion`) describes."""
        rotation = rotation_matrix(*(np.float32(a) for a in (yaw, pitch, roll)))
        middle = np.asarray(translation[:2], np.float32) + scale * (rotation @ _POSE_CENTRE)[:2]
        half = crop.side / 2
        return Box(crop.x + half * float(middle[0]), crop.y + half * float(middle[1]), half * scale * _POSE_HEIGHT)

    @staticmethod
    def of_landmarks(points: NDArray[np.float32], score: float = 1.0) -> Box:
        """The face with these landmarks (478, 3), pixels. In depth, too: a bowed head is as tall as an upright one."""
        top, bottom = points[_FOREHEAD], points[_CHIN]
        height = float(np.linalg.norm(bottom - top))
        x, y = ((top + bottom) / 2)[:2].tolist()
        return Box(x, y + _BELOW * height, height, score)


SURE = 0.6
"""Score from which a face is found with confidence."""

SEVERAL_HEIGHT = 0.6


def main_face(boxes: Sequence[Box]) -> Box | None:
    """The face that a picture is about: the tallest that is found with confidence, else the best scored; or None."""
    sure = [b for b in boxes if b.score >= SURE]
    if sure:
        return max(sure, key=lambda b: b.height)
    return max(boxes, key=lambda b: b.score, default=None)


def are_several(boxes: Sequence[Box]) -> bool:
    """Whether another face, found with confidence, is nearly as tall as the main one.

    A face on a poster behind the speaker or a doubtful detection does not count.
    """
    face = main_face(boxes)
    if face is None:
        return False
    others = (b for b in boxes if b is not face and b.score >= SURE)
    return any(b.height >= SEVERAL_HEIGHT * face.height for b in others)


def only_face(boxes: Sequence[Box]) -> Box:
    """The one face. Raises NoFaceError or SeveralFacesError."""
    face = main_face(boxes)
    if face is None:
        raise NoFaceError("no face found: it must look at the camera and be at least a tenth of the picture's height")
    if are_several(boxes):
        raise SeveralFacesError("several faces found where exactly one is needed; crop the picture to one of them")
    return face
