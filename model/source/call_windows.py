"""The windows of a call, of mouth and eyes: which frames a sender cuts one from, and where, while it captures.

Pure: told the time; knows keypoints and the crops that it is given, and keeps none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.source.eye_choice import alike, eye_areas, eye_points
from model.source.mouth_choice import CallMouth, mouth_points, skin_unevenness
from model.source.quality import sharpness
from model.source.window_choice import EYES, MOUTH, SHARP_ENOUGH, Budget, Feature, WindowChoice
from model.source.window_search import cut
from model.window import Window
from model.window.corners import corner_coordinates
from model.window.eyes import usable as eyes_usable
from model.window.mouth import usable as mouth_usable


@dataclass(frozen=True)
class SourceLook:
    """What a source image shows."""

    mouth: NDArray[np.float32]  # (10, 2) mouth coordinates
    eyes: NDArray[np.float32]  # (2, 5, 2) eye coordinates
    areas: NDArray[np.float32]  # `eye_areas`
    skin: float  # `skin_unevenness`; infinite where it cannot be told
    sharpness: float

    @classmethod
    def of(
        cls, picture: NDArray[np.uint8], canonical: CanonicalKeypoints, motion: Motion, sharpness: float
    ) -> SourceLook:
        """From the image (S, S, 3), its keypoints and motion, NumPy arrays; `sharpness` at the size of frames."""
        mouth, eyes = mouth_points(canonical, motion), eye_points(canonical, motion)
        skin = skin_unevenness(picture, mouth) if mouth_usable(mouth) else np.inf
        return cls(corner_coordinates(mouth), corner_coordinates(eyes), eye_areas(picture, eyes), skin, sharpness)


@dataclass(frozen=True)
class ChosenWindow:
    """A window that is worth sending."""

    slot: int
    points: NDArray[np.float32]  # where it is cut, crop units
    shape: NDArray[np.float32]
    feature: Feature

    def cut(self, picture: NDArray[np.uint8]) -> Window:
        """From the frame's crop (S, S, 3), which may be larger than that it was chosen by."""
        return cut(picture, self.points)


class CallWindows:
    """Those of one sender."""

    def __init__(self) -> None:
        budget = Budget()
        self._choices = {feature: WindowChoice(feature, budget) for feature in (MOUTH, EYES)}
        self._beside: SourceLook | None = None
        self._mouth = CallMouth(np.inf)

    def looks(self, now: float) -> bool:
        """Whether `update` would look at a frame: between two looks nothing about it needs to be worked out."""
        return self._choices[MOUTH].looks(now)

    def cut(self) -> None:
        """The frames from here on show something else: choose anew, within the same budget of bytes."""
        for choice in self._choices.values():
            choice.cut()

    def update(
        self,
        crop: NDArray[np.uint8],
        canonical: CanonicalKeypoints,
        motion: Motion,
        source: SourceLook,
        now: float,
    ) -> ChosenWindow | None:
        """Takes every frame whose face was measured: its crop (S, S, 3), keypoints and motion.

        The caller answers with `sent` for its window, or leaves it.
        """
        if source is not self._beside:  # what is usual for one picture says nothing of another
            self._mouth, self._beside = CallMouth(source.skin), source
        mouth, eyes = mouth_points(canonical, motion), eye_points(canonical, motion)
        clear = sharpness(crop) >= SHARP_ENOUGH * source.sharpness
        bare = clear and bool(mouth_usable(mouth)) and not self._mouth.update(skin_unevenness(crop, mouth))
        plain = clear and bool(eyes_usable(eyes)) and bool(alike(eye_areas(crop, eyes), source.areas))
        seen = (
            (EYES, eyes, corner_coordinates(eyes), source.eyes, plain),
            (MOUTH, mouth, corner_coordinates(mouth), source.mouth, bare),
        )
        chosen = None
        for feature, points, shape, own, can in seen:
            # Both remember every frame; but two windows of one frame would spend the same bytes of the budget. Eyes
            # first: a blink is over sooner than a word.
            slot = self._choices[feature].update(shape, own, can and chosen is None, now)
            if slot is not None:
                chosen = ChosenWindow(slot, points, shape, feature)
        return chosen

    def sent(self, window: ChosenWindow, size: int, now: float) -> None:
        """A window is on its way, `size` bytes."""
        self._choices[window.feature].sent(window.slot, window.shape, size, now)
