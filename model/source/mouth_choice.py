"""Which mouths are worth a window: those that the source image and the present windows cover least.

Pure: knows keypoints and pictures; no files, no codec. A mouth is covered as well as what is mixed for it is like it
(`model/source/mouth_mixing.py`).
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.mouth_window import cut_window, mouth_coordinates, shape_distance, usable
from model.networks.small_config import MOUTH
from model.source.mouth_mixing import unlikeness
from model.source.mouth_texture import mouth_texture
from model.source.quality import sharpness

LEAST_GAIN = 0.002
"""By how much a window must make all frames' mouths more like what is mixed for them to be worth it, as a share of how
unlike the source image alone is."""

_NOISE = 1e-4  # of grey as a multiple of its mean, below which nothing is gained

_EXCHANGES = 2  # rounds in which each chosen window may give way to a better one

_SHARP = 0.8  # sharpness as a share of the clip's median that is sharp enough

COVERED = 2.0
"""Unevenness of the skin around a mouth, as a multiple of what is usual for it, from which something lies before it: on
training films 1.9 at most, where lips are rounded or a head has turned far; with fingers beside the lips 2 to 4."""

UNCOVERED = 0.7
"""Share of that unevenness below which a mouth that was covered is bare again: a hand that holds still is smoother."""

_BESIDE_COVERED = 4
"""Frames before and after one whose mouth is covered that are not trusted either: a hand comes and goes."""

_LEAST_UNEVEN = 0.04  # what is usual for a mouth at least: of real ones .048 to .43
_SKIN = (0.06, 0.28)  # mouth coordinates beyond the lips
_UPPER, _LOWER = (0, 6, 2, 7, 1), (0, 8, 3, 9, 1)  # the outer lips from corner to corner, positions in MOUTH

REMEMBERED = 600
"""Mouths of a call that are remembered: a minute's, at ten looks a second."""

MOST_FRAMES = 240
"""Of a long clip fewer are looked at: each is compared with each."""


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


class WindowSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self) -> None:
        self._points: list[NDArray[np.float32]] = []
        self._textures: list[NDArray[np.float32]] = []
        self._sharpness: list[float] = []
        self._measured: list[bool] = []
        self._unevenness: list[float] = []

    def consider(self, crop: NDArray[np.uint8], points: NDArray[np.float32], measured: bool) -> None:
        """A frame: its crop (S, S, 3), `mouth_points` (10, 2), and whether its face could be measured."""
        self._points.append(points)
        self._textures.append(mouth_texture(crop, points))
        self._sharpness.append(sharpness(crop))
        self._measured.append(measured)
        self._unevenness.append(skin_unevenness(crop, points) if measured and usable(points) else np.nan)

    def best(self, source: int, count: int) -> list[tuple[int, NDArray[np.float32]]]:
        """At most `count` frames to cut windows from, and where, beside the frame that is the source image."""
        if not self._points:
            return []
        points = np.stack(self._points)
        sharp = np.array(self._sharpness) >= _SHARP * np.median(self._sharpness)
        skin = np.array(self._unevenness)
        known = skin[np.isfinite(skin)]
        covered = _covered(skin, bare_skin(float(np.median(known))) if len(known) else np.inf)
        beside = np.convolve(covered, np.ones(2 * _BESIDE_COVERED + 1))[_BESIDE_COVERED:][: len(covered)] > 0.5
        clear = usable(points) & sharp & np.array(self._measured) & ~beside
        chosen = choose_windows(mouth_coordinates(points), np.stack(self._textures), source, clear, count)
        return [(i, points[i]) for i in chosen]


def _covered(skin: NDArray[np.float64], bare: float) -> NDArray[np.bool_]:
    """Which frames' mouths are covered, (T,), as time goes on and as it goes back: a hand also comes by and by."""
    there, back = CoveredMouth(), CoveredMouth()
    forward = [there.update(one, bare) for one in skin]
    backward = [back.update(one, bare) for one in skin[::-1]]
    covered: NDArray[np.bool_] = np.array(forward, bool) | np.array(backward, bool)[::-1]
    return covered


def choose_windows(
    shapes: NDArray[np.float32],
    textures: NDArray[np.float32],
    source: int,
    clear: NDArray[np.bool_],
    count: int,
) -> list[int]:
    """Indices of the frames of a clip whose mouths become windows, at most `count`, the most useful first.

    shapes    (T, 10, 2) mouth coordinates of all frames
    textures  (T, D) their textures
    source    the frame that is the source image
    clear     (T,) which frames can be cut: measured, sharp, `usable`
    """
    seen = np.arange(len(shapes))[:: -(-len(shapes) // MOST_FRAMES)]
    candidates = np.flatnonzero(clear)[:: max(1, -(-int(clear.sum()) // MOST_FRAMES))]
    candidates = candidates[candidates != source]
    mixing = _Mixing(shapes, textures, seen, np.array([source, *candidates]))
    chosen: list[int] = []  # numbers in `candidates`
    alone = unlike = mixing.source_alone()
    while len(chosen) < min(count, len(candidates)):
        after = mixing.with_another(chosen)
        best = int(after.argmin())
        if unlike - after[best] < max(LEAST_GAIN * alone, _NOISE):
            break
        chosen.append(best)
        unlike = float(after[best])
    for place in list(range(len(chosen))) * _EXCHANGES:
        after = mixing.with_another(chosen[:place] + chosen[place + 1 :])
        best = int(after.argmin())
        if after[best] < unlike:
            chosen[place], unlike = best, float(after[best])
    return [int(candidates[number]) for number in chosen]


class _Mixing:
    """What mouths are like beside a source image, picture 0, and some of the candidates, from picture 1 on."""

    def __init__(
        self,
        shapes: NDArray[np.float32],
        textures: NDArray[np.float32],
        seen: NDArray[np.intp],
        pictures: NDArray[np.intp],
    ) -> None:
        self._away = np.array([shape_distance(shapes[i], shapes[seen]) for i in pictures], np.float64)  # (P, N)
        # Differences of products: in single precision what is left of them is noise.
        driving, shown = textures[seen].astype(np.float64), textures[pictures].astype(np.float64)
        size = textures.shape[1]
        self._squares = (driving**2).mean(1)
        self._between = shown @ driving.T / size
        self._among = shown @ shown.T / size

    def source_alone(self) -> float:
        """`unlikeness` of all mouths without a window."""
        return float(self._with(np.zeros((1, 1), np.intp))[0])

    def with_another(self, chosen: list[int]) -> NDArray[np.float64]:
        """The same with the chosen candidates and each other one as windows, (C,); infinite for the chosen."""
        others = np.arange(1, len(self._away))
        present = np.tile([0, *(1 + number for number in chosen)], (len(others), 1))
        unlike = self._with(np.concatenate([present, others[:, None]], 1))
        unlike[chosen] = np.inf
        return unlike

    def _with(self, which: NDArray[np.intp]) -> NDArray[np.float64]:
        among = self._among[which[:, :, None], which[:, None]]
        return unlikeness(self._away[which], self._squares, self._between[which], among)
