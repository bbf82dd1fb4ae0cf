"""Which frames of a clip become windows of mouth and eyes, and where they are cut.

Pure: knows keypoints and pictures; no files, no codec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.source.eye_choice import EyeSearch, eye_points
from model.source.mouth_choice import MouthSearch, mouth_points
from model.source.quality import sharpness
from model.window import Window, eyes, mouth

_SHARP = 0.8  # sharpness as a share of the clip's median that is sharp enough


def cut(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> Window:
    """A window on both eyes, points (2, 5, 2), or on the mouth, (10, 2), from a crop (S, S, 3)."""
    return eyes.cut_window(picture, points) if points.ndim == 3 else mouth.cut_window(picture, points)


@dataclass(frozen=True)
class WindowPlace:
    """Where a window is cut: both eyes, (2, 5, 2), or the mouth, (10, 2), crop units."""

    frame: int
    points: NDArray[np.float32]

    @property
    def of_mouth(self) -> bool:
        """Whether it shows a mouth; else eyes."""
        return self.points.ndim == 2

    def told(self, canonical: CanonicalKeypoints, motion: Motion) -> WindowPlace:
        """The same where `motion` of this frame, as a receiver gets it, has mouth or eyes, if they can be cut there.

        Landmarks of one frame tremble, and what registration has moved is drawn where the motion says.
        """
        if self.of_mouth:
            points = mouth_points(canonical, motion)
            return replace(self, points=points) if mouth.usable(points) else self
        points = eye_points(canonical, motion)
        return replace(self, points=points) if eyes.usable(points) else self

    def cut(self, picture: NDArray[np.uint8]) -> Window:
        """The window, from the frame's crop (S, S, 3)."""
        return cut(picture, self.points)


class WindowSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self, mouths: int = mouth.MAX_WINDOWS, eyes: int = eyes.MAX_WINDOWS) -> None:
        """`mouths`, `eyes`: windows beside each source image, at most."""
        self._most_mouths, self._most_eyes = mouths, eyes
        self._mouths, self._eyes = MouthSearch(), EyeSearch()
        self._sharpness: list[float] = []
        self._measured: list[bool] = []

    def consider(self, crop: NDArray[np.uint8], canonical: CanonicalKeypoints, motion: Motion, measured: bool) -> None:
        """A frame: its crop (S, S, 3), keypoints and motion, and whether its face could be measured."""
        if self._most_mouths:
            self._mouths.consider(crop, mouth_points(canonical, motion), measured)
        if self._most_eyes:
            self._eyes.consider(crop, eye_points(canonical, motion))
        self._sharpness.append(sharpness(crop))
        self._measured.append(measured)

    def bare_mouths(self) -> NDArray[np.bool_]:
        """Which frames' mouths are seen, (T,): nothing lies before them. All, where no mouths are searched."""
        return self._mouths.bare() if self._most_mouths else np.ones(len(self._measured), bool)

    def best(self, source: int, picture: NDArray[np.uint8]) -> list[WindowPlace]:
        """Mouths and then eyes beside the frame that is the source image, the most useful first.

        picture (S, S, 3) that frame's crop, of any size
        """
        if not self._measured:
            return []
        clear = np.array(self._measured) & (np.array(self._sharpness) >= _SHARP * np.median(self._sharpness))
        mouths = self._mouths.best(source, picture, clear, self._most_mouths)
        eyes = self._eyes.best(source, picture, clear, self._most_eyes)
        return [WindowPlace(frame, points) for frame, points in [*mouths, *eyes]]
