"""From a camera's frame and the head's crop in it to motion: the sender's side of a frame, one person at a time.

The motion extractor reads the crop (256 pixels) and says where head, hair and body are. The landmark network reads the
camera's own frame, where a face has more pixels, and says where the face's keypoints are, and how the head has moved
since the motion extractor saw it last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.face.box import Box
from model.face.crop import Crop
from model.face.region import face_region, in_crop_units
from model.landmarks.roi import Region
from model.motion import CanonicalKeypoints, Motion
from model.networks.small.guided import face_points, following, with_face
from model.talking_head import TalkingHead

HEAD_EVERY = 2
"""Of so many frames the motion extractor sees one, while landmarks are there: between two the head follows them."""


@dataclass(frozen=True)
class _Head:
    """What the motion extractor said of a frame, and where the face was in it."""

    crop: Crop
    motion: Motion
    landmarks: NDArray[np.float32]  # (478, 3) crop units


class FrameExtractor:
    """Takes the frames of one person in order. Not for two threads at a time."""

    def __init__(self, head: TalkingHead) -> None:
        self._head = head
        self._canonical: CanonicalKeypoints | None = None
        self._region: Region | None = None  # of the camera's frame, where the face is expected
        self.face: Box | None = None
        """Where landmarks saw the face of the last frame; None where none did, and for a profile without landmarks."""
        self._expression: NDArray[np.float32] | None = None  # (J, 3) of the last face that was measured
        self._seen: _Head | None = None  # the last frame that the motion extractor saw, while landmarks followed
        self._since = 0  # frames since

    def extract(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]:
        """The crop (S, S, 3) of a camera's frame uint8 (H, W, 3) RGB, and its motion, NumPy arrays of no batch shape.

        Where no face can be measured, as behind a hand, its last expression is held.
        """
        picture = crop.cut(frame, self._head.profile.size)
        if not self._head.has_landmarks:
            return picture, self._whole(picture)
        landmarks = self._landmarks(frame, crop, self._region) if self._region is not None else None
        self._since += 1
        seen = self._seen
        if landmarks is not None and seen is not None and seen.crop == crop and self._since < HEAD_EVERY:
            motion = following(seen.motion, self.canonical, seen.landmarks, landmarks, self._head.profile.layout)
        else:
            motion = self._whole(picture)
            landmarks = self._confirmed(frame, crop, landmarks, face_region(crop, motion))
            self._seen = None if landmarks is None else _Head(crop, motion, landmarks)
            self._since = 0
        return picture, self._with_face(motion, landmarks)

    @property
    def measured(self) -> bool:
        """Whether the face of the last frame was measured, not held; a profile without landmarks holds none."""
        return self.face is not None or not self._head.has_landmarks

    @property
    def canonical(self) -> CanonicalKeypoints:
        """(K, 3), of the first frame: what motion is relative to. Raises ValueError before it."""
        if self._canonical is None:
            raise ValueError("no frame has been extracted")
        return self._canonical

    def _whole(self, picture: NDArray[np.uint8]) -> Motion:
        """What the motion extractor says of a crop (S, S, 3)."""
        tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        if self._canonical is None:
            self._canonical = self._head.canonical(tensor)
        return self._head.extract(tensor).to_numpy()[0]

    def _landmarks(self, frame: NDArray[np.uint8], crop: Crop, region: Region) -> NDArray[np.float32] | None:
        """Landmarks (478, 3) in crop units of the face in a region of the frame; None where there is none."""
        points = self._head.landmarks(frame, region)
        if points is None:
            self._region = self.face = None
            return None
        self._region, self.face = Region.of_landmarks(points), Box.of_landmarks(points)
        return in_crop_units(points, crop)

    def _confirmed(
        self, frame: NDArray[np.uint8], crop: Crop, landmarks: NDArray[np.float32] | None, expected: Region
    ) -> NDArray[np.float32] | None:
        """The landmarks, if they are of the face that the motion extractor sees; else that one's."""
        if landmarks is not None and self._region is not None and _near(self._region, expected):
            return landmarks
        return self._landmarks(frame, crop, expected)

    def _with_face(self, motion: Motion, landmarks: NDArray[np.float32] | None) -> Motion:
        count = self._head.profile.layout.face_count
        if landmarks is not None:
            motion = with_face(motion, self.canonical, face_points(landmarks))
            self._expression = motion.expression[:count].copy()
        elif self._expression is not None:
            motion.expression[:count] = self._expression
        return motion


def _near(region: Region, expected: Region) -> bool:
    """Whether two regions show one face."""
    return math.hypot(region.x - expected.x, region.y - expected.y) < expected.side / 4
