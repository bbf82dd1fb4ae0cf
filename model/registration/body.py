"""Where the body has gone in a head's crop: shoulders and clothes below the chin, registered with the source image's.

A motion extractor sees one frame, and shoulders at the edge of a crop have no landmarks: it errs by pixels. Two
pictures give their place to a fraction of one. `model.keypoint_layout` says which keypoints are the body's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from model.arrays import Floats, Mask
from model.keypoint_layout import KeypointLayout
from model.motion import Motion
from model.registration.similarity import BlockVote, GreyPyramid, Level, from_head, has_moved, moved, registered

_NECK = (0.85, 0.5)  # below the head's middle, and half its width, in units of the head's scale
_SLOPE = 2.2  # how fast what may be shoulders widens below the neck
_VOTES = 4  # places that must have got better
_FADE = 0.9  # of what was measured last, that is kept a frame later when nothing can be measured


class BodyTracker:
    """Follows the body through the frames that one source image drives, in order.

    Pure: the same frames give the same motion. Where nothing can be measured (plain clothes, a hand before them) the
    extractor's motion holds, and the correction that was last measured fades.
    """

    def __init__(self, source: GreyPyramid, motion: Motion, layout: KeypointLayout) -> None:
        """The source image and its motion, no batch shape."""
        self._layout = layout
        self._points = points_of(motion, layout)
        self._key = source.levels(partial(_free, motion))
        self.place: Floats | None = None
        """Where the body of the last frame lies since the source image, (4,) as of `Motion.background`."""
        self._correction = np.zeros(4, np.float32)  # measured place, less the extractor's
        self.measured = True
        """Whether the last frame's body was measured, and not taken from the extractor."""

    def follow(self, picture: GreyPyramid, motion: Motion) -> Motion:
        """The motion of a frame with the body's keypoints where they are measured."""
        seen = picture.levels(lambda side: np.ones((side, side), bool))
        extracted = np.zeros(4, np.float32)
        extracted[:2] = (points_of(motion, self._layout) - self._points).mean(0)
        place = self._measured(seen, extracted)
        self.measured = place is not None
        if place is not None:
            self.place, self._correction = place, place - extracted
            return with_points(motion, moved(self._points, place), self._layout)
        self._correction = self._correction * np.float32(_FADE)
        self.place = extracted + self._correction
        return self.extrapolated(motion)

    def extrapolated(self, motion: Motion) -> Motion:
        """The motion of a frame that is not measured, corrected as the last measured one."""
        correction = moved(self._points, self._correction) - self._points
        return with_points(motion, points_of(motion, self._layout) + correction, self._layout)

    def _measured(self, seen: list[Level], extracted: Floats) -> Floats | None:
        """From where it was last, or from where the extractor has it; None when neither leads to a place that fits."""
        starts = [extracted] if self.place is None else [self.place, extracted + self._correction]
        for start in starts:
            vote = BlockVote(self._key, seen, start, _VOTES)
            if vote.settled():
                return start if vote.tells else None
            fit = registered(self._key, seen, start)
            if not has_moved(fit, start):
                return start
            if vote.prefers(fit):
                return fit
        return None


def points_of(motion: Motion, layout: KeypointLayout) -> Floats:
    """Places (N, 2) of the body's keypoints in the picture, crop units; no batch shape."""
    placed = motion.scale * motion.expression[layout.body, :2] + motion.translation[:2]
    return np.asarray(placed, np.float32)


def with_points(motion: Motion, points: Floats, layout: KeypointLayout) -> Motion:
    """The motion with the body's keypoints at places (N, 2); the inverse of `points_of`."""
    expression = motion.expression.copy()
    expression[layout.body, :2] = (points - motion.translation[:2]) / motion.scale
    return replace(motion, expression=expression)


def _free(motion: Motion, side: int) -> Mask:
    """Pixels (side, side) that may be neck, shoulders and chest."""
    dx, dy = from_head(motion, side)
    free: Mask = (dy > _NECK[0]) & (np.abs(dx) < _NECK[1] + _SLOPE * (dy - _NECK[0]))
    return free
