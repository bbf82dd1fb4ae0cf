"""How part of a picture has moved in another: a shift, a size and a tilt, by registering grey values of small pictures.

Gauss-Newton (Lucas and Kanade 1981) with robust weights, half size first; and a vote of many places on whether to
believe it. Pure NumPy: it runs for each frame on the sender's laptop, in one to a few milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Mask
from model.motion import Motion, background_since, turned_and_sized
from model.registration.robust import DEVIATIONS_PER_MEDIAN, TUKEY

SIDE = 64
"""Pixels of the picture that votes; half of it is registered first, the double last."""

THUMBNAIL = 2 * SIDE
"""Pixels a side of the picture that is kept of each frame."""

_ENOUGH_PIXELS = 450  # that are compared, of each size
_FEWEST = 150  # pixels of 64 x 64 that can be registered
_STEPS = {SIDE // 2: 4, SIDE: 3, THUMBNAIL: 2}  # of Gauss-Newton at each size, at most
_ENOUGH = 0.1 / 128  # crop units: a step of a tenth of a pixel of 256 is the last
_NOISE = 1.5  # least spread of grey values, of 255, that is taken for noise
# One sigma of the change within a frame, crop units, 1, degrees; of the gain and the offset of the exposure.
_TRUST = 1 / np.array([0.06, 0.06, 0.02, 1.5, 0.2, 20.0]) ** 2
_ALIKE = 1 / 16  # neighbouring pixels are not independent witnesses
_STILL = 0.6 / 256  # crop units by which a corner of the picture must have moved: 0.3 pixels of 256
_BLOCK = 8  # pixels of 64: side of a place that has a vote
_TEXTURE = 3.0  # least root mean square gradient, grey values a pixel, of a place that can tell
_MOST = 0.8  # share of the places that must still fit for a part not to have moved at all
_QUIET = 1.0  # grey values: a place whose residual is less in the root mean square still fits
_SLIGHT = 0.1  # pixels of 64 by which what is seen there may have moved, too


@dataclass(frozen=True)
class GreyPyramid:
    """A frame as it is registered."""

    grey: NDArray[np.uint8]  # (128, 128) as `thumbnail` makes it

    @cached_property
    def planes(self) -> tuple[Floats, Floats, Floats]:
        """Of 128, 64 and 32 pixels a side, (n * n, 3) each: grey value, its gradient along x and along y a pixel."""
        fine = self.grey.astype(np.float32)
        middle = _halved(fine)
        return _planes(fine), _planes(middle), _planes(_halved(middle))

    def levels(self, free: Callable[[int], Mask]) -> list[Level]:
        """Of all sizes the pixels that are compared, which `free` gives for a side."""
        sides = (THUMBNAIL, SIDE, SIDE // 2)
        return [Level(planes, free(side).reshape(-1)) for planes, side in zip(self.planes, sides, strict=True)]


@dataclass(frozen=True)
class Level:
    """One size of a picture; n pixels a side."""

    planes: Floats  # (n * n, 3) grey value, its gradient along x and along y a pixel
    free: NDArray[np.bool_]  # (n * n,) the part that is registered

    @property
    def side(self) -> int:
        return math.isqrt(len(self.free))

    @cached_property
    def chosen(self) -> NDArray[np.intp]:
        """(N,) some of these pixels, spread over all of them."""
        found = np.flatnonzero(self.free)
        if len(found) <= _ENOUGH_PIXELS:
            return found
        return found[np.linspace(0, len(found) - 1, _ENOUGH_PIXELS).astype(np.intp)]

    @cached_property
    def share(self) -> float:
        """How many of them are chosen."""
        return len(self.chosen) / max(1, int(self.free.sum()))

    @cached_property
    def points(self) -> Floats:
        """(N, 2) where they are, crop coordinates."""
        n = self.side
        return np.asarray((np.stack([self.chosen % n, self.chosen // n], -1) * 2 + 1) / n - 1, np.float32)


def thumbnail(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values (128, 128) of a crop (S, S, 3), S a multiple of 128."""
    step = crop.shape[0] // THUMBNAIL
    # Which of the colours weighs more does not matter; green is sampled finest.
    luma = crop[..., 1].reshape(THUMBNAIL, step, THUMBNAIL, step).mean((1, 3), dtype=np.float32)
    return np.asarray(luma + 0.5, np.uint8)


def _halved(grey: Floats) -> Floats:
    n = grey.shape[0] // 2
    return np.asarray(grey.reshape(n, 2, n, 2).mean((1, 3)), np.float32)


def _planes(grey: Floats) -> Floats:
    slope_y, slope_x = np.gradient(grey)
    return np.stack([grey, slope_x, slope_y], -1).reshape(-1, 3)


def from_head(motion: Motion, side: int) -> tuple[Floats, Floats]:
    """How far the columns (side,) and rows (side, 1) of a picture lie from the head's middle, in units of its scale."""
    line, scale = (np.arange(side, dtype=np.float32) * 2 + 1) / np.float32(side) - 1, float(motion.scale)
    return (line - float(motion.translation[0])) / scale, (line - float(motion.translation[1]))[:, None] / scale


def moved(points: Floats, place: Floats) -> Floats:
    """Where points (N, 2) of a part are that has gone to `place`."""
    return _turned(points, place) + place[:2]


def _turned(points: Floats, place: Floats) -> Floats:
    """Points (N, 2) turned and sized about the crop's middle, shift left out."""
    return np.asarray(np.stack(turned_and_sized(points[:, 0], points[:, 1], place[2], place[3]), -1), np.float32)


def _read(level: Level, at: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which of crop coordinates (N, 2) show what may be compared; grey value and gradient there, (N, 3)."""
    n, planes = level.side, level.planes
    u = at * np.float32(n / 2) + np.float32((n - 1) / 2)
    bounded = np.minimum(np.maximum(u, 0), np.float32(n - 1.001))
    low = bounded.astype(np.int32)
    part = bounded - low
    cell = low[:, 1] * n + low[:, 0]
    fx, fy = part[:, :1], part[:, 1:]
    top, bottom = planes.take(cell, 0), planes.take(cell + n, 0)
    top += fx * (planes.take(cell + 1, 0) - top)
    bottom += fx * (planes.take(cell + n + 1, 0) - bottom)
    inside = (np.abs(u - bounded) < 0.01).all(1)
    return inside & level.free.take(cell), top + fy * (bottom - top)


def registered(key: list[Level], frame: list[Level], start: Floats) -> Floats:
    """The place (4,) near `start` at which the key's part fits the frame; `start` where too little of it is seen.

    (4,) as of `Motion.background`. It is drawn to the start, as far as a part may have gone within a frame.
    """
    place = start
    for one, other in zip(key[::-1], frame[::-1], strict=True):
        place = _register(one, other, place, start)
    return place


def has_moved(now: Floats, then: Floats) -> bool:
    """Whether places (4,) differ by more than can be seen."""
    return corner_shift(background_since(now, then)) > _STILL


def _register(key: Level, frame: Level, start: Floats, likely: Floats) -> Floats:
    """The place (4,) near `start` at which the key's part fits the frame, drawn towards `likely`."""
    points, wanted, shown = key.points, key.planes[key.chosen, 0], key.share
    per_unit = np.float32(key.side / 2)  # pixels a crop unit
    fewest = max(8.0, _FEWEST * shown * (key.side / SIDE) ** 2)
    # Shift, size and tilt, and the gain and offset of a camera whose exposure has changed.
    found = np.concatenate([start, [1.0, 0.0]])
    likeliest = np.concatenate([likely, [1.0, 0.0]])
    columns = np.empty((6, len(points)), np.float32)
    columns[5] = -1
    columns[4] = -wanted
    for _ in range(_STEPS[key.side]):
        place = found[:4].astype(np.float32)
        turned = _turned(points, place)
        inside, read = _read(frame, turned + place[:2])
        if np.count_nonzero(inside) < fewest:
            return start
        residual = np.float32(found[4]) * wanted + np.float32(found[5]) - read[:, 0]
        away = np.abs(residual)
        spread = max(_NOISE, DEVIATIONS_PER_MEDIAN * _middle(away[inside]))
        weight = np.maximum(1 - (away / np.float32(TUKEY * spread)) ** 2, 0) ** 2 * inside  # Tukey
        weight *= np.float32(_ALIKE / shown / spread**2)
        x, y = turned.T
        np.multiply(read[:, 1:].T, per_unit, out=columns[:2])
        columns[2] = columns[0] * x + columns[1] * y
        columns[3] = (columns[1] * x - columns[0] * y) * np.float32(np.pi / 180)
        weighted = columns * weight
        normal = (weighted @ columns.T).astype(np.float64)
        normal.flat[::7] += _TRUST
        change = np.linalg.solve(normal, weighted @ residual + _TRUST * (likeliest - found))
        found += change
        if abs(change[0]) + abs(change[1]) + abs(change[2]) + abs(change[3]) * np.pi / 180 < _ENOUGH:
            break
    return found[:4].astype(np.float32)


def _middle(values: Floats) -> float:
    """About the median, at half the cost of `np.median`."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


class BlockVote:
    """Blocks of the key's part, 8 x 8 pixels each, vote on whether the frame fits.

    Single things that move, as the edge of the hair does before a bare wall, have few votes.
    """

    def __init__(self, keys: list[Level], frames: list[Level], current: Floats, votes: int) -> None:
        """`current`: the place that stays unless at least `votes` blocks prefer another."""
        key, frame = (next(level for level in levels if level.side == SIDE) for levels in (keys, frames))
        self._key, self._frame, self._votes = key, frame, votes
        self._shown, self._residual = _residuals(key, frame, current)
        self.overlap = float(self._shown.mean()) if len(self._shown) else 1.0
        blocks = SIDE // _BLOCK
        self._block = key.chosen // SIDE // _BLOCK * blocks + key.chosen % SIDE // _BLOCK
        self._texture, self._telling, _ = self._blocks(self._shown)

    @property
    def tells(self) -> bool:
        """Whether there is enough to see for a vote."""
        return int(self._telling.sum()) >= self._votes

    def settled(self) -> bool:
        """Whether nothing has moved, or too little can be seen to tell."""
        if not self.tells:
            return True
        square = self._mean(self._residual**2, self._shown)
        fits = square < np.maximum(_QUIET**2, (_SLIGHT * self._texture) ** 2)
        return int((self._telling & fits).sum()) >= _MOST * int(self._telling.sum())

    def prefers(self, place: Floats) -> bool:
        """Whether many blocks fit better at `place`, and few worse."""
        shown, new = _residuals(self._key, self._frame, place)
        both = shown & self._shown
        _, telling, enough = self._blocks(both)
        if not enough:
            return False
        bound = (4 * max(_NOISE, _middle(np.abs(new[both])))) ** 2
        before, after = (self._mean(np.minimum(r**2, bound), both) for r in (self._residual, new))
        better, worse = (telling & (after < 0.9 * before)).sum(), (telling & (after > 1.1 * before)).sum()
        return bool(better >= self._votes and better >= 2 * worse)

    def _blocks(self, seen: Mask) -> tuple[Floats, Mask, bool]:
        """Texture of each block, grey values a pixel; which of them can tell; whether enough is seen."""
        key = self._key
        count = np.bincount(self._block[seen], minlength=(SIDE // _BLOCK) ** 2)
        texture = np.sqrt(self._mean((key.planes[key.chosen, 1:] ** 2).sum(-1), seen))
        telling = (count >= key.share * _BLOCK**2 / 3) & (texture > _TEXTURE)
        return texture, telling, int(seen.sum()) >= _FEWEST * key.share

    def _mean(self, values: Floats, seen: Mask) -> Floats:
        size = (SIDE // _BLOCK) ** 2
        count = np.bincount(self._block[seen], minlength=size)
        return np.asarray(np.bincount(self._block[seen], values[seen], size) / np.maximum(count, 1), np.float32)


def _residuals(key: Level, frame: Level, place: Floats) -> tuple[Mask, Floats]:
    """Which of the key's pixels the frame shows, and by how many grey values they differ there, (N,) each."""
    inside, read = _read(frame, moved(key.points, place))
    residual = read[:, 0] - key.planes[key.chosen, 0]
    return inside, (residual - _middle(residual[inside]) if inside.any() else residual).astype(np.float32)


def after(second: Floats, first: Floats) -> Floats:
    """The place of what lies at `first` and is then moved by `second`."""
    shift = moved(first[None, :2], second)[0]
    return np.concatenate([shift, first[2:] + second[2:]]).astype(np.float32)


def corner_shift(place: Floats) -> float:
    """How far the corners of the picture move, crop units, at most."""
    corners = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
    return float(np.abs(moved(corners, place) - corners).max())
