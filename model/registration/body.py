"""Where the body has gone in a head's crop: shoulders and clothes below the chin, registered with the source image's.

A motion extractor sees one frame, and shoulders at the edge of a crop have no landmarks; what it says of them is off by
pixels. Two pictures tell to a fraction of one. The last keypoints of the `small` profile are the body's
(`model.networks.small.config.BODY`): their canonical place is the origin, so x = s delta + t.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.motion import Motion
from model.registration.similarity import Ballot, Level, Mask, Picture, from_head, has_moved, moved, registered

Floats = NDArray[np.float32]

_NECK = (0.85, 0.5)  # below the head's middle, and half its width, in units of the head's scale
_SLOPE = 2.2  # how fast what may be shoulders widens below the neck
_VOTES = 4  # places that must have got better
_FADE = 0.9  # of what was measured last, that still holds a frame later when nothing can be measured


class BodyTracker:
    """Told of the frames that one source image drives, in order. Pure: the same frames give the same motion.

    Where nothing can be measured (plain clothes, a hand before them) the extractor's word holds, and what it was last
    found to be off by fades.
    """

    def __init__(self, source: Picture, motion: Motion, body: int) -> None:
        """The source image, its motion (no batch shape), and how many of its keypoints are the body's."""
        self._body = body
        self._points = points_of(motion, body)
        self._key = source.levels(partial(_free, motion))
        self.place: Floats | None = None
        """Where the body of the last frame lies since the source image, (4,) as of `Motion.background`."""
        self._off = np.zeros(4, np.float32)  # measured, less what the extractor said
        self.measured = True
        """Whether the last frame's body was measured, and not taken from the extractor."""

    def follow(self, picture: Picture, motion: Motion) -> Motion:
        """The motion of a frame with the body's keypoints where they were seen to go."""
        seen = picture.levels(lambda side: np.ones((side, side), bool))
        said = np.zeros(4, np.float32)
        said[:2] = (points_of(motion, self._body) - self._points).mean(0)
        place = self._measured(seen, said)
        self.measured = place is not None
        if place is not None:
            self.place, self._off = place, place - said
            return with_points(motion, moved(self._points, place))
        self._off = self._off * np.float32(_FADE)
        self.place = said + self._off
        return self.carried(motion)

    def carried(self, motion: Motion) -> Motion:
        """The motion of a frame that is not looked at: the extractor put right by what it was last off by."""
        off = moved(self._points, self._off) - self._points
        return with_points(motion, points_of(motion, self._body) + off)

    def _measured(self, seen: list[Level], said: Floats) -> Floats | None:
        """From where it was last, or from where the extractor has it; None when neither leads to a place that fits."""
        starts = [said] if self.place is None else [self.place, said + self._off]
        for start in starts:
            ballot = Ballot(self._key, seen, start, _VOTES)
            if ballot.settled():
                return start if ballot.tells else None
            fit = registered(self._key, seen, start)
            if not has_moved(fit, start):
                return start
            if ballot.prefers(fit):
                return fit
        return None


def points_of(motion: Motion, body: int) -> Floats:
    """Places (body, 2) of the body's keypoints in the picture, crop units; no batch shape."""
    placed = motion.scale * motion.expression[-body:, :2] + motion.translation[:2]
    return np.asarray(placed, np.float32)


def with_points(motion: Motion, points: Floats) -> Motion:
    """The motion with the body's keypoints at places (body, 2); the inverse of `points_of`."""
    expression = motion.expression.copy()
    expression[-len(points) :, :2] = (points - motion.translation[:2]) / motion.scale
    return replace(motion, expression=expression)


def _free(motion: Motion, side: int) -> Mask:
    """Pixels (side, side) that may be neck, shoulders and chest."""
    dx, dy = from_head(motion, side)
    free: Mask = (dy > _NECK[0]) & (np.abs(dx) < _NECK[1] + _SLOPE * (dy - _NECK[0]))
    return free
