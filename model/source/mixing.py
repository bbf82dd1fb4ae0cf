"""Which frames of a clip become windows: those by which what a receiver mixes of them is most like the film.

Pure: knows shapes and textures. A receiver mixes by shape alone (`model/window/nearness.py`); a sender has the film,
and sees by the textures what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.window.nearness import Nearness

LEAST_GAIN = 0.002
"""By how much a window must make all frames more like what is mixed for them to be worth it, as a share of how unlike
the source image alone is."""

MOST_FRAMES = 240
"""Of a long clip fewer are looked at: each is compared with each."""

_NOISE = 1e-4  # of grey as a multiple of its mean, below which nothing is gained
_EXCHANGES = 2  # rounds in which each chosen window may give way to a better one


@dataclass(frozen=True)
class Sights:
    """What all frames show of one feature: a mouth, or one of two eyes."""

    shapes: NDArray[np.float32]  # (T, K, 2) in coordinates of its corners
    textures: NDArray[np.float32]  # (T, D)
    distance: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]  # of one shape from (N, K, 2)
    nearness: Nearness


def unlikeness(
    nearness: Nearness,
    away: NDArray[np.float64],
    squares: NDArray[np.float64],
    between: NDArray[np.float64],
    among: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean distance of textures from what is mixed for them, (...), as a share of their grey.

    away     (..., 1 + K, N) as `Nearness.weights` takes it
    squares  (N,) mean squares of the textures
    between  (..., 1 + K, N) mean products of the pictures' textures and theirs
    among    (..., 1 + K, 1 + K) of the pictures' among themselves
    """
    weights = nearness.weights(away)
    # |t - sum w p|^2 by products alone: no texture is mixed.
    left = squares - 2 * (weights * between).sum(-2) + (weights * (among @ weights)).sum(-2)
    found: NDArray[np.float64] = np.sqrt(np.maximum(left, 0)).mean(-1)
    return found


def choose_windows(sights: Sequence[Sights], source: int, clear: NDArray[np.bool_], count: int) -> list[int]:
    """Indices of the frames of a clip that become windows, at most `count`, the most useful first.

    sights  what a window shows: a mouth, or both eyes
    source  the frame that is the source image
    clear   (T,) which frames can be cut: measured, sharp, large enough
    """
    seen = np.arange(len(clear))[:: -(-len(clear) // MOST_FRAMES)]
    candidates = np.flatnonzero(clear)[:: max(1, -(-int(clear.sum()) // MOST_FRAMES))]
    candidates = candidates[candidates != source]
    mixing = _Mixing([_Products.of(one, seen, np.array([source, *candidates])) for one in sights], len(candidates))
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


@dataclass(frozen=True)
class _Products:
    """Of one feature: source image and candidates against all frames that are looked at, and among themselves."""

    nearness: Nearness
    away: NDArray[np.float64]  # (P, N)
    squares: NDArray[np.float64]  # (N,)
    between: NDArray[np.float64]  # (P, N)
    among: NDArray[np.float64]  # (P, P)

    @staticmethod
    def of(sights: Sights, seen: NDArray[np.intp], pictures: NDArray[np.intp]) -> _Products:
        # Differences of products: in single precision what is left of them is noise.
        driving, shown = sights.textures[seen].astype(np.float64), sights.textures[pictures].astype(np.float64)
        size = driving.shape[1]
        return _Products(
            sights.nearness,
            np.array([sights.distance(sights.shapes[i], sights.shapes[seen]) for i in pictures], np.float64),
            (driving**2).mean(1),
            shown @ driving.T / size,
            shown @ shown.T / size,
        )

    def unlikeness(self, which: NDArray[np.intp]) -> NDArray[np.float64]:
        """With these pictures, (C, 1 + K), of which the first is the source image."""
        among = self.among[which[:, :, None], which[:, None]]
        return unlikeness(self.nearness, self.away[which], self.squares, self.between[which], among)


class _Mixing:
    """What faces are like beside a source image, picture 0, and some of the candidates, from picture 1 on."""

    def __init__(self, features: list[_Products], candidates: int) -> None:
        self._features, self._candidates = features, candidates

    def source_alone(self) -> float:
        """How unlike all frames are with the source image alone."""
        return float(self._with(np.zeros((1, 1), np.intp))[0])

    def with_another(self, chosen: list[int]) -> NDArray[np.float64]:
        """The same with the chosen candidates and each of the others as windows, (C,); infinite for the chosen."""
        others = np.arange(1, self._candidates + 1)
        present = np.tile([0, *(1 + number for number in chosen)], (len(others), 1))
        unlike = self._with(np.concatenate([present, others[:, None]], 1))
        unlike[chosen] = np.inf
        return unlike

    def _with(self, which: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(np.sum([one.unlikeness(which) for one in self._features], 0))
