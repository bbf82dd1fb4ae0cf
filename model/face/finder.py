"""Finding faces with dlib's frontal detector (histograms of gradients, King 2009): built into dlib-bin, no download.

The detector sees upright faces from 80 pixels and up to about 40 degrees to the side; its time goes with the number of
pixels, 5 ms for 320 x 180. So a picture is searched coarse to fine, and a face that is known is searched nearby.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import NoFaceError, SeveralFacesError
from model.face.box import SEVERAL_SCORE, Box, are_several, main_face, only_face
from model.face.crop import Crop, covering_crop, face_crop

_HEIGHT = 1.13
"""Hairline to chin in heights of the detector's box (median over 179 people, spread 0.08); the middles agree."""
_LEAST_SCORE = 0.2
_NEARBY_SCORE = -0.2
"""Where a face was a moment ago, a weaker answer is believed: a head that turns or tilts."""
_LADDER = (320, 960, 1920)
"""Longer sides in pixels at which a picture is searched, one after the other."""
_MOST_ENLARGED = 3.0
"""Beyond that there is nothing more to see."""
_SEARCHED_FACE = 120
"""Height in pixels that the surroundings of a known face are resized to."""


class HeadFinder:
    """Finds faces; holds the detector, no state. One thread at a time."""

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()

    def find(self, frame: NDArray[np.uint8], finest: int = _LADDER[-1]) -> list[Box]:
        """All faces of a frame uint8 (H, W, 3) RGB, tallest first, empty when there is none.

        Searches with the longer side at 320 pixels first and, until a face is found with confidence, at 960 and 1920,
        but no finer than `finest`. That takes 5, 30 and 100 ms on one core, and finds faces from a quarter, a tenth
        and a twentieth of the longer side.
        """
        height, width = frame.shape[:2]
        grey = _grey(frame)
        boxes: list[Box] = []
        for longer in _LADDER:
            scale = min(longer / max(width, height), _MOST_ENLARGED)
            # A doubtful face seen at a coarser step is better than none.
            boxes = self._search(grey, width, height, scale, _LEAST_SCORE) or boxes
            if any(b.score >= SEVERAL_SCORE for b in boxes) or longer >= finest or scale == _MOST_ENLARGED:
                break
        return sorted(boxes, key=lambda b: -b.height)

    def find_near(self, frame: NDArray[np.uint8], face: Box) -> Box | None:
        """The face that was at `face` a moment ago, within half its height around, or None (6 ms)."""
        region = Crop(face.x, face.y, 2.4 * face.height)
        size = round(2.4 * _SEARCHED_FACE)
        grey = Image.fromarray(region.cut(frame, size)).convert("L")
        scale = region.side / size
        left, top = region.x - region.side / 2, region.y - region.side / 2
        found = [
            Box(left + b.x * scale, top + b.y * scale, b.height * scale, b.score)
            for b in self._search(grey, size, size, 1.0, _NEARBY_SCORE)
        ]
        near = [b for b in found if abs(b.x - face.x) + abs(b.y - face.y) < face.height]
        return max(near, key=lambda b: b.score, default=None)

    def refine(self, frame: NDArray[np.uint8], face: Box) -> Box:
        """The same face measured more finely (20 ms).

        The detector knows sizes in steps of a fifth only; the mean of answers at three resolutions lies between them.
        """
        found = []
        for factor in (0.9, 1.0, 1.11):
            # A larger assumed height means a smaller picture of the face: another place on the detector's ladder.
            near = self.find_near(frame, Box(face.x, face.y, face.height * factor, face.score))
            if near is not None:
                found.append(near)
        if not found:
            return face
        x, y, height, score = np.mean([(b.x, b.y, b.height, b.score) for b in found], axis=0)
        return Box(float(x), float(y), float(height), float(score))

    def _search(self, grey: Image.Image, width: int, height: int, scale: float, least: float) -> list[Box]:
        """Boxes in a frame width x height, found in its grey picture at `scale` times the frame's size."""
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = grey if size == grey.size else grey.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        x, y = width / small.width, height / small.height
        rectangles, scores, _ = self._detector.run(np.asarray(small), 0, least)
        return [
            Box(
                x * (r.left() + r.right() + 1) / 2,
                y * (r.top() + r.bottom() + 1) / 2,
                _HEIGHT * y * (r.bottom() - r.top() + 1),
                float(score),
            )
            for r, score in zip(rectangles, scores, strict=True)
        ]


def still_crop(image: NDArray[np.uint8], finder: HeadFinder | None = None) -> Crop:
    """The crop of the one face in a still, uint8 (H, W, 3) RGB.

    Raises NoFaceError or SeveralFacesError.
    """
    finder = finder or HeadFinder()
    face = finder.refine(image, only_face(finder.find(image)))
    return face_crop(face.x, face.y, face.height, image.shape[1], image.shape[0])


def clip_crop(frames: Iterable[NDArray[np.uint8]], finder: HeadFinder | None = None, every: int = 5) -> Crop:
    """One fixed crop for a file: covers the head wherever it is in every `every`-th of the frames (H, W, 3), in order.

    Raises NoFaceError when the face is seen in less than a fifth of them, SeveralFacesError when several people are
    seen in more than half.
    """
    finder = finder or HeadFinder()
    seen = searched = several = 0
    faces: list[tuple[float, float, float]] = []
    last: Box | None = None
    width = height = 0
    for frame in islice(frames, 0, None, every):
        height, width = frame.shape[:2]
        # Every fifth search goes over the whole frame, so that a second person is noticed.
        face = finder.find_near(frame, last) if last is not None and seen % 5 else None
        if face is None:
            boxes = finder.find(frame, _LADDER[-1] if last is None else _LADDER[0])
            face = main_face(boxes)
            searched += 1
            several += are_several(boxes)
        seen += 1
        if face is not None:
            faces.append((face.x, face.y, face.height))
            last = face
    if not faces or len(faces) < 0.2 * seen:
        raise NoFaceError("no face found in the clip: it must look at the camera for a good part of it")
    if several > 0.5 * searched:
        raise SeveralFacesError("several faces found in the clip where exactly one is needed")
    return covering_crop(np.array(faces), width, height)


def _grey(frame: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame)
    longer = max(image.size)
    if longer > 2 * _LADDER[-1]:
        # Nothing is searched finer than that: shrinking first makes everything after it cheap.
        image = image.reduce(longer // _LADDER[-1])
    return image.convert("L")
