"""From a camera's frame and the head's crop in it to motion: the sender's side of a frame, one person at a time.

The motion extractor reads the crop (256 pixels) and says where head, hair and body are. The landmark network reads the
camera's own frame, where a face has more pixels, and says where the face's keypoints are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from model.face.crop import Crop
from model.landmarks.roi import Region
from model.motion import CanonicalKeypoints, Motion
from model.networks.small.guided import face_points, with_face
from model.talking_head import TalkingHead, face_region, in_crop_units


class FrameExtractor:
    """Takes the frames of one person in order. Not for two threads at a time."""

    def __init__(self, head: TalkingHead) -> None:
        self._head = head
        self._canonical: CanonicalKeypoints | None = None
        self._region: Region | None = None  # of the camera's frame, where the face is expected
        self.measured = True
        """Whether the face of the last frame was measured, not held; a profile without landmarks measures none."""
        self._expression: NDArray[np.float32] | None = None  # (J, 3) of the last face that was measured

    def extract(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]:
        """The crop (S, S, 3) of a camera's frame uint8 (H, W, 3) RGB, and its motion, NumPy arrays of no batch shape.

        Where no face can be measured, as behind a hand, its last expression is held.
        """
        picture = crop.cut(frame, self._head.profile.size)
        tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        motion = self._head.extract(tensor).to_numpy()[0]
        if self._canonical is None:
            self._canonical = self._head.canonical(tensor)
        if not self._head.has_landmarks:
            return picture, motion
        landmarks = self._landmarks(frame, crop, motion)
        self.measured = landmarks is not None
        count = self._head.profile.layout.face_count
        if landmarks is not None:
            motion = with_face(motion, self.canonical, face_points(landmarks))
            self._expression = motion.expression[:count].copy()
        elif self._expression is not None:
            motion.expression[:count] = self._expression
        return picture, motion

    @property
    def canonical(self) -> CanonicalKeypoints:
        """(K, 3), of the first frame: what motion is relative to. Raises ValueError before it."""
        if self._canonical is None:
            raise ValueError("no frame has been extracted")
        return self._canonical

    def _landmarks(self, frame: NDArray[np.uint8], crop: Crop, motion: Motion) -> NDArray[np.float32] | None:
        """Landmarks (478, 3) in crop units; None where there is no face."""
        expected = face_region(crop, motion)
        regions = [expected]
        if self._region is not None and _near(self._region, expected):
            regions.insert(0, self._region)
        for region in regions:
            points = self._head.landmarks(frame, region)
            if points is not None:
                self._region = Region.of_landmarks(points)
                return in_crop_units(points, crop)
        self._region = None
        return None


def _near(region: Region, expected: Region) -> bool:
    """Whether two regions show one face."""
    return math.hypot(region.x - expected.x, region.y - expected.y) < expected.side / 4
