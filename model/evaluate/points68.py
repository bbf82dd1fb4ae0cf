"""dlib's 68 points of a face: the second instrument, which drives nothing in visavis.

The predictor (Kazemi and Sullivan 2014, trained on iBUG 300-W: for research) comes with the package
face_recognition_models 0.3.0 of the evaluation requirements.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.evaluate.identity import Box, largest_face, package_files

FILES = {"shape_predictor_68_face_landmarks.dat": "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"}

ENLARGED = 4
"""The predictor answers in whole pixels, and a mouth widens by few; off enlarged pictures, in parts of them."""


SHIFT = 0.02
"""Of a box's side: a face is read in nine boxes, so far up, down, left and right of its own, and the mean is taken. One
reading trembles more than the difference between a film and its copy that nobody tells apart."""


class Points68:
    """Raises WeightsError when the package that carries the predictor is missing or another one."""

    def __init__(self) -> None:
        (path,) = package_files(FILES)
        import dlib

        self._predictor = dlib.shape_predictor(str(path))
        self._detector = dlib.get_frontal_face_detector()
        self._rectangle = dlib.rectangle

    def boxes(self, frames: NDArray[np.uint8]) -> list[Box] | None:
        """Boxes of the largest face of each frame (T, H, W, 3), or of the frame before; None where there is no face.

        For decoded frames pass those of the true ones, so that both are read at the same place.
        """
        found: list[Box | None] = []
        for frame in frames:
            found.append(largest_face(self._detector, frame) or (found[-1] if found else None))
        first = next((box for box in found if box is not None), None)
        return None if first is None else [box or first for box in found]

    def points(self, frames: NDArray[np.uint8], boxes: list[Box]) -> NDArray[np.float64]:
        """Points (T, 68, 2) in pixels, the middle of the first at 0."""
        enlarged = np.array([self._enlarged_points(frame, box) for frame, box in zip(frames, boxes, strict=True)])
        points: NDArray[np.float64] = (enlarged + 0.5) / ENLARGED - 0.5
        return points

    def _enlarged_points(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.float64]:
        """Points (68, 2) of the enlarged frame."""
        height, width = frame.shape[:2]
        large = Image.fromarray(frame).resize((ENLARGED * width, ENLARGED * height), Image.Resampling.BILINEAR)
        pixels = np.asarray(large)
        left, top, right, bottom = (ENLARGED * side for side in box)
        last = ENLARGED - 1  # a box has its last pixels within it
        across, down = round(SHIFT * (right + last - left)), round(SHIFT * (bottom + last - top))
        read = [
            self._predictor(pixels, self._rectangle(left + x, top + y, right + last + x, bottom + last + y))
            for x, y in product((-across, 0, across), (-down, 0, down))
        ]
        points: NDArray[np.float64] = np.mean([[(p.x, p.y) for p in shape.parts()] for shape in read], 0)
        return points
