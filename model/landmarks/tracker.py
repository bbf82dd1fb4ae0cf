"""Landmarks frame by frame: found with the detector, followed by themselves, checked with the detector now and then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.landmarks.detector import Face, detect, search
from model.landmarks.network import SIDE, split
from model.landmarks.roi import Region

_CLOSER = 1.5
"""Sides of the square in which a face is looked for again, in sides of the region in which it is expected."""

_TRIED = 3
"""How many faces of a detection are tried: one that the detector only believes to see must not hide another."""

LEAST_CONFIDENCE = 0.5
"""Below that there is no face: one that was followed is lost, and looked for again in the same frame."""


@dataclass(frozen=True)
class Landmarks:
    """A face in a frame."""

    points: NDArray[np.float32]  # (478, 3) pixels of the frame; z grows away from the viewer, in the same unit
    confidence: float  # in [0.5, 1] that the points are on a face


class LandmarkTracker:
    """One face in a stream of frames. Given the time; not for two threads at a time.

    The largest face is acquired. It stays the one that is followed while it is there, though a larger one comes in.
    """

    CHECK_SECONDS = 1.0
    """So often a face that is followed is confirmed by the detector, and where none is, a small one is searched for."""

    def __init__(self, landmarks: Callable[[Tensor], Tensor], detector: Callable[[Tensor], Tensor]) -> None:
        """A `LandmarkNetwork` and a `FaceDetector`, or compiled graphs of them."""
        self._landmarks = landmarks
        self._detector = detector
        self._region: Region | None = None  # where the face is expected in the next frame
        self._checked = -math.inf  # time of the last detection, seconds
        self.faces: list[Face] = []
        """All faces that the last detection found, the most certain first."""

    @torch.inference_mode()
    def update(self, frame: NDArray[np.uint8], time: float) -> Landmarks | None:
        """The face in a frame uint8 (H, W, 3) RGB at `time`, seconds; None when there is none."""
        expected = self._region
        due = time - self._checked >= self.CHECK_SECONDS
        found = None if expected is None or due else measure(self._landmarks, frame, expected)
        if found is None:
            regions = self._checks(frame, expected) if expected and due else self._searches(frame, due)
            self._checked = time if expected or due else self._checked
            for region in regions:
                found = measure(self._landmarks, frame, region)
                if found is not None:
                    break
        self._region = None if found is None else Region.of_landmarks(found.points)
        return found

    def _searches(self, frame: NDArray[np.uint8], finely: bool) -> list[Region]:
        """Where a face may be, the likeliest place first."""
        self.faces = (search if finely else detect)(self._detector, frame)
        largest = sorted(self.faces, key=lambda face: -face.height)
        return [face.region for face in largest[:_TRIED]]

    def _checks(self, frame: NDArray[np.uint8], expected: Region) -> list[Region]:
        """Where a face that is expected there is, one after the other."""
        others = self._searches(frame, finely=False)
        if any(_within(face, expected) for face in self.faces):
            return [expected, *others]
        # A small face is not seen in the whole frame, and one that is turned far by the landmarks' network alone.
        closer = detect(self._detector, frame, Region(expected.x, expected.y, _CLOSER * expected.side))
        confirmed = not others or any(_within(face, expected) for face in closer)
        return [expected, *others] if confirmed else others


def measure(network: Callable[[Tensor], Tensor], frame: NDArray[np.uint8], region: Region) -> Landmarks | None:
    """The face that a `LandmarkNetwork`, or a compiled graph of it, sees in that region of a frame; None for none."""
    confidence, points = split(network(region.sample(frame, SIDE)))
    if not float(confidence[0]) >= LEAST_CONFIDENCE:  # also when it is not a number
        return None
    return Landmarks(region.to_frame(points[0].numpy() / SIDE), float(confidence[0]))


def _within(face: Face, region: Region) -> bool:
    """Whether the middle of a face lies near the middle of the region: within half of the face that it was made for."""
    return math.hypot(face.x - region.x, face.y - region.y) < region.side / 3
