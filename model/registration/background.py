"""How far the background has moved in a head's crop: a camera in a hand moves it, and so does a crop that glides.

No keypoint of a face shows it, and a renderer that assumes a background that stands still leaves it where the source
image has it. So the sender measures it (`Motion.background`), by registering each frame's surroundings of the
person with those of the source image. A background is held still unless many blocks of it vote otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from model.arrays import Floats, Mask
from model.motion import Motion, background_since
from model.registration.similarity import (
    BlockVote,
    GreyPyramid,
    Level,
    after,
    corner_shift,
    from_head,
    has_moved,
    registered,
)

REACH = 40 / 128
"""How far a corner of the background may be moved, crop units: 40 pixels of 256.

Beyond, most of what should be there lies outside the source image, and a background that is moved all the way looks
worse than one that is not.
"""

_HEAD = (0.95, 1.15)  # half axes of what may be head or hair, in units of the head's scale
_SHOULDERS = 0.75  # below its middle, in the same units, lies what may be shoulders
_VOTES = 6  # places that must have got better
_OVERLAP = 0.6  # share of the key's background that must still be seen
_LOST = 12  # frames in a row that fit nowhere after which another key is tried


@dataclass(frozen=True)
class Backdrop:
    """The surroundings of a head in one frame, to register later frames with."""

    levels: list[Level]
    place: Floats  # (4,) where they lay


class BackgroundTracker:
    """Follows the background through the frames of one head, in order; any of them may become the source image.

    Pure: the same frames give the same motion. A frame is registered with the source image as long as enough of its
    background can be seen, so that errors do not add up; else with a frame on the way.
    """

    def __init__(self) -> None:
        self._way: Backdrop | None = None
        self._last: Backdrop | None = None
        self._lost = 0

    def follow(
        self, picture: GreyPyramid, motion: Motion, source: Backdrop | None = None, expected: Floats | None = None
    ) -> Floats:
        """Where the background lies, (4,) as of `Motion.background`, since the source image or the first frame.

        picture   the frame
        motion    of the head in it, no batch shape: its surroundings are the background
        source    what `backdrop` gave of the frame that is now the source image
        expected  (4,) how far the background has moved since the last frame, as far as is known: the crop moves it
        Within REACH: what goes further is given as far as that.
        """
        seen = picture.levels(partial(_free, motion))
        if self._last is None or self._way is None:
            self._way = self._last = Backdrop(seen, np.zeros(4, np.float32))
            return self._last.place
        last = self._last.place if expected is None else after(expected, self._last.place)
        sure, overlap = False, 0.0
        if source is not None:
            place, overlap, sure = _follow(source, seen, last)
        if sure and overlap >= _OVERLAP:
            stale = True  # what the source image says holds without errors of the way
        else:
            place, overlap, sure = _follow(self._way, seen, last)
            stale = overlap < _OVERLAP or self._lost >= _LOST
        self._last = Backdrop(seen, place)
        self._lost = 0 if sure else self._lost + 1
        if stale:
            self._way = self._last
        return self.place(source)

    def place(self, source: Backdrop | None = None) -> Floats:
        """What `follow` gave of the last frame, or would have with another source. Raises ValueError before it."""
        lies = self.backdrop().place
        return _within_reach(lies if source is None else background_since(lies, source.place))

    def backdrop(self) -> Backdrop:
        """The last followed frame's, for when it becomes a source image. Raises ValueError before the first."""
        if self._last is None:
            raise ValueError("no frame has been followed")
        return self._last


def _follow(key: Backdrop, seen: list[Level], last: Floats) -> tuple[Floats, float, bool]:
    """The background's place in a frame after it lay at `last`; share of the key's background that is seen; whether the
    place can be trusted.
    """
    guess = background_since(last, key.place)
    vote = BlockVote(key.levels, seen, guess, _VOTES)
    if vote.settled():
        return last, vote.overlap, True
    fit = registered(key.levels, seen, guess)
    if not has_moved(fit, guess):
        return last, vote.overlap, True
    agreed = vote.prefers(fit)
    return (after(fit, key.place) if agreed else last), vote.overlap, agreed


def _free(motion: Motion, side: int) -> Mask:
    """Pixels (side, side) that neither the head nor what may be shoulders hides."""
    dx, dy = from_head(motion, side)
    free: Mask = ((dx / _HEAD[0]) ** 2 + (dy / _HEAD[1]) ** 2 > 1) & (dy < _SHOULDERS)
    return free


def _within_reach(place: Floats) -> Floats:
    shift = corner_shift(place)
    return place if shift <= REACH else place * np.float32(REACH / shift)
