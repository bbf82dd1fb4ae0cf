"""Which mouths are worth a window: those that the source image and the present windows cover least.

Pure: knows keypoints and pictures; no files, no codec. A mouth is covered as well as what is mixed for it is like it
(`model/source/mixing.py`).
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small_config import MOUTH
from model.source.mixing import Sights, choose_windows
from model.source.sightings import Sightings
from model.source.texture import MOUTH_TEXTURE
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, cut_window, shape_distance, usable

COVERED = 2.0
"""Unevenness of the skin around a mouth, as a multiple of what is usual for it, from which something lies before it: on
training films 1.9 at most, where lips are rounded or a head has turned far; with fingers beside the lips 2 to 4."""

UNCOVERED = 0.7
"""Share of that unevenness below which a mouth that was covered is bare again: a hand that holds still is smoother."""

_BESIDE_COVERED = 15
"""Frames before and after one whose mouth is covered that are not trusted either, half a second at 30 a second: a hand
comes or goes, blurred or as smooth as skin."""

_LEAST_UNEVEN = 0.04  # what is usual for a mouth at least: of real ones .048 to .43
_SKIN = (0.06, 0.28)  # mouth coordinates beyond the lips
_UPPER, _LOWER = (0, 6, 2, 7, 1), (0, 8, 3, 9, 1)  # the outer lips from corner to corner, positions in MOUTH

REMEMBERED = 600
"""Mouths of a call that are remembered: a minute's, at ten looks a second."""


def mouth_points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Keypoints of the mouth, (..., 10, 2), crop units; NumPy arrays."""
    points: NDArray[np.float32] = compose(canonical, motion)[..., list(MOUTH), :2]
    return points


def skin_unevenness(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    """How uneven the skin around a mouth is: mean distance of its grey from the median, as a share of that.

    crop uint8 (S, S, 3), points `mouth_points` (10, 2) that are `usable`
    """
    window = cut_window(crop, points)
    side, lips = len(window.picture), window.points
    place = (2 * np.arange(side) + 1) / side - 1
    u, v = np.meshgrid(window.half * place, window.middle + window.half * place)

    def line(which: tuple[int, ...]) -> NDArray[np.float64]:
        knots = lips[list(which)]
        knots = knots[np.argsort(knots[:, 0])]  # expression may upset their order
        return np.interp(u, knots[:, 0], knots[:, 1])

    beyond = np.maximum(np.maximum(line(_UPPER) - v, v - line(_LOWER)), np.abs(u) - 1)
    grey = window.picture.astype(np.float32).mean(-1)[(beyond > _SKIN[0]) & (beyond < _SKIN[1])]
    usual = max(float(np.median(grey)), 1.0)
    return float(np.abs(grey - usual).mean()) / usual


def bare_skin(usual: float) -> float:
    """Unevenness up to which nothing lies before a mouth for which `usual` is usual."""
    return COVERED * max(usual, _LEAST_UNEVEN)


class CoveredMouth:
    """Whether something lies before a mouth, frame after frame."""

    def __init__(self) -> None:
        self._covered = False

    def update(self, unevenness: float, bare: float) -> bool:
        """`unevenness` of the next frame's skin, of which nothing is known where it is no number; `bare_skin`."""
        if not np.isnan(unevenness):
            self._covered = unevenness > (UNCOVERED * bare if self._covered else bare)
        return self._covered


class CallMouth:
    """Whether something lies before the mouth of a call's sender, frame after frame, beside one source image.

    That image shows lips and skin at rest, so bare mouths that speak soon have twice its unevenness. What is usual is
    therefore theirs, as soon as they are more uneven; of what is covered nothing is learned.
    """

    def __init__(self, own: float) -> None:
        """`own`: unevenness of the source image's skin; infinite where it cannot be told, and then none is covered."""
        self._own = own
        self._bare: deque[float] = deque(maxlen=REMEMBERED)
        self._mouth = CoveredMouth()

    def update(self, unevenness: float) -> bool:
        """`unevenness` of the next frame's skin."""
        usual = max(self._own, float(np.median(self._bare))) if self._bare else self._own
        covered = self._mouth.update(unevenness, bare_skin(usual))
        if not covered and not np.isnan(unevenness):
            self._bare.append(unevenness)
        return covered


class MouthSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self) -> None:
        self._seen = Sightings(MOUTH_TEXTURE.texture)
        self._unevenness: list[float] = []

    def consider(self, crop: NDArray[np.uint8], points: NDArray[np.float32], measured: bool) -> None:
        """A frame: its crop (S, S, 3), `mouth_points` (10, 2), and whether its face could be measured."""
        self._seen.add(crop, points)
        self._unevenness.append(skin_unevenness(crop, points) if measured and usable(points) else np.nan)

    def bare(self) -> NDArray[np.bool_]:
        """Which frames' mouths are seen, (T,): nothing lies before them."""
        skin = np.array(self._unevenness)
        known = skin[np.isfinite(skin)]
        covered = _covered(skin, bare_skin(float(np.median(known))) if len(known) else np.inf)
        return np.convolve(covered, np.ones(2 * _BESIDE_COVERED + 1))[_BESIDE_COVERED:][: len(covered)] < 0.5

    def best(
        self, source: int, picture: NDArray[np.uint8], clear: NDArray[np.bool_], count: int
    ) -> list[tuple[int, NDArray[np.float32]]]:
        """At most `count` frames to cut windows from, and where, beside the frame that is the source image.

        picture (S, S, 3) that frame's crop, clear (T,) which frames are measured and sharp
        """
        if not len(self._seen):
            return []
        frames, textures = self._seen.textures(source, picture)
        points = self._seen.points[frames]
        mouths = Sights(corner_coordinates(points), textures, shape_distance, NEARNESS)
        own = int(np.searchsorted(frames, source))
        chosen = choose_windows([mouths], own, usable(points) & (clear & self.bare())[frames], count)
        return [(int(frames[i]), points[i]) for i in chosen]


def _covered(skin: NDArray[np.float64], bare: float) -> NDArray[np.bool_]:
    """Which frames' mouths are covered, (T,), as time goes on and as it goes back: a hand also comes by and by."""
    there, back = CoveredMouth(), CoveredMouth()
    forward = [there.update(one, bare) for one in skin]
    backward = [back.update(one, bare) for one in skin[::-1]]
    covered: NDArray[np.bool_] = np.array(forward, bool) | np.array(backward, bool)[::-1]
    return covered
