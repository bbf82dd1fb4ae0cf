"""Finding faces: the published detector sees where they may be, the landmark network where and how large they are.

The detector sees faces that fill an eighth of its square. So a frame is searched coarse to fine, and a face that is
known is searched nearby. Boxes are measured on landmarks, which know a face's height to some percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from model.errors import NoFaceError, SeveralFacesError
from model.face.box import Box, are_several, only_face
from model.face.crop import Crop, covering_crop, face_crop
from model.landmarks.detector import Face, detect, search
from model.landmarks.roi import Region
from model.landmarks.tracker import measure
from model.landmarks.weights import load_face_detector, load_landmark_network

_AROUND = 2.4
"""Side of the square in which a known face is searched, in heights of it."""
_MOST_PEOPLE = 4
"""So many people of a clip are followed."""
_MOST_MEASURED = 8
"""Of the faces that the detector finds in a frame so many are measured, the largest."""


class HeadFinder:
    """Finds faces; holds the networks, no state. One thread at a time."""

    def __init__(self) -> None:
        """Raises WeightsError when the networks' weights are missing or damaged."""
        self._detector = load_face_detector()
        self._landmarks = load_landmark_network()

    @torch.inference_mode()
    def find(self, frame: NDArray[np.uint8], finely: bool = True) -> list[Box]:
        """All faces of a frame uint8 (H, W, 3) RGB, tallest first, empty when there is none.

        Looks for faces of an eighth of the longer side first and, `finely` and while none is found for sure, of a
        fourteenth of the shorter side. That takes 6 and 150 ms on one core, and 7 for each face that is found.
        """
        found = (search if finely else detect)(self._detector, frame)
        largest = sorted(found, key=lambda face: -face.height)[:_MOST_MEASURED]
        boxes = [box for face in largest if (box := self._measured(frame, face)) is not None]
        return sorted(boxes, key=lambda box: -box.height)

    @torch.inference_mode()
    def find_near(self, frame: NDArray[np.uint8], face: Box) -> Box | None:
        """The face that was at `face` a moment ago, within its height around, or None (13 ms)."""
        near = [
            found
            for found in detect(self._detector, frame, Region(face.x, face.y, _AROUND * face.height))
            if math.hypot(found.x - face.x, found.y - face.y) < face.height
        ]
        return self._measured(frame, near[0]) if near else None

    def _measured(self, frame: NDArray[np.uint8], face: Face) -> Box | None:
        """A face that was detected, measured on its landmarks; None where these see none."""
        landmarks = measure(self._landmarks, frame, face.region)
        return None if landmarks is None else Box.of_landmarks(landmarks.points, face.score)


def still_crop(image: NDArray[np.uint8], finder: HeadFinder | None = None) -> Crop:
    """The crop of the one face in a still, uint8 (H, W, 3) RGB.

    Raises NoFaceError or SeveralFacesError.
    """
    finder = finder or HeadFinder()
    face = only_face(finder.find(image))
    return face_crop(face.x, face.y, face.height, image.shape[1], image.shape[0])


def clip_crop(frames: Iterable[NDArray[np.uint8]], finder: HeadFinder | None = None, every: int = 5) -> Crop:
    """One fixed crop for a file: covers the head wherever it is in every `every`-th of the frames (H, W, 3), in order.

    The clip is about the person who is seen longest and largest. Raises NoFaceError when that is in less than a fifth
    of the frames, SeveralFacesError when somebody else is seen nearly as large in more than half of them.
    """
    finder = finder or HeadFinder()
    people: list[list[Box]] = []
    seen = width = height = 0
    for frame in islice(frames, 0, None, every):
        height, width = frame.shape[:2]
        known = [near for person in people if (near := finder.find_near(frame, person[-1])) is not None]
        # Every fifth search goes over the whole frame, so that a second person is noticed.
        boxes = finder.find(frame, finely=not people) if seen % 5 == 0 or not known else []
        seen += 1
        for box in _distinct([*known, *boxes]):
            person = next((person for person in people if _same_place(person[-1], box)), None)
            if person is not None:
                person.append(box)
            elif len(people) < _MOST_PEOPLE:
                people.append([box])
    people.sort(key=lambda person: -sum(box.height for box in person))
    if not people or len(people[0]) < 0.2 * seen:
        raise NoFaceError("no face found in the clip: it must look at the camera for a good part of it")
    if any(len(person) > 0.5 * seen and are_several([_typical(people[0]), _typical(person)]) for person in people[1:]):
        raise SeveralFacesError("several faces found in the clip where exactly one is needed")
    return covering_crop(np.array([(box.x, box.y, box.height) for box in people[0]]), width, height)


def _same_place(one: Box, other: Box) -> bool:
    return math.hypot(one.x - other.x, one.y - other.y) < max(one.height, other.height)


def _distinct(boxes: list[Box]) -> list[Box]:
    """The first of each face."""
    found: list[Box] = []
    for box in boxes:
        if not any(_same_place(box, other) for other in found):
            found.append(box)
    return found


def _typical(person: list[Box]) -> Box:
    """The box of the median height."""
    return sorted(person, key=lambda box: box.height)[len(person) // 2]
