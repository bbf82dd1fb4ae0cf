"""Lips that lean towards the windows which look most like them.

A receiver mixes windows by the shape of the lips alone, and what lips show does not follow from that. A file's sender
sees what comes of it: it moves the lips a part of the way towards the shape of one window, so that this counts for
more, where that makes the mixture more like the film. Where few pixels move, the right teeth matter more.

Pure: knows motion and pictures; no files, no codec.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import MOUTH
from model.source.mouth_choice import mouth_points
from model.source.texture import MOUTH_TEXTURE
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, shape_distance

LEAN = 0.5
"""Share of the way to a window's shape that lips go (docs/experiments/mouth-windows.md)."""

NEAREST = 8
"""Windows that lips of one frame may lean to."""

_CHANGE = 0.004  # of unlikeness, as a share of grey: what it costs to lean to another window than the frame before
_MOVED = 0.3  # of unlikeness, for each unit of mouth coordinates, root mean square, that lips move
_BLOCK = 512  # frames whose textures are in memory at a time


def steered(
    motions: Motion,
    canonical: CanonicalKeypoints,
    thumbnails: NDArray[np.uint8],
    source: int,
    windows: list[int],
    bare: NDArray[np.bool_],
) -> Motion:
    """Motions (T,) of a clip whose lips lean towards its mouth windows; corners of mouths stay.

    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    source      the frame that is the source image; it and the windows' frames stay as they are
    windows     frames that mouth windows show; all are taken to be cut where `motions` have them
    bare        (T,) which mouths are seen; the others stay, as what lies before them is no mouth
    """
    if not windows:
        return motions
    points = mouth_points(canonical, motions)  # (T, 10, 2)
    shapes = corner_coordinates(points)
    unlikeness = _unlikeness(points, shapes, thumbnails, [source, *windows])
    towards = _path(unlikeness)  # (T,): 0 for none
    moved = np.where((towards > 0)[:, None, None], LEAN * (shapes[[source, *windows]][towards] - shapes), 0)
    beside = np.pad(moved, ((1, 1), (0, 0), (0, 0)), mode="edge")
    moved = (beside[:-2] + 2 * moved + beside[2:]) / 4  # what changes at once would be seen
    moved[~bare] = 0
    moved[[source, *windows]] = 0
    axis = (points[:, 1:2] - points[:, :1]) / 2
    across = np.stack([-axis[..., 1], axis[..., 0]], -1)
    way = moved[..., :1] * axis + moved[..., 1:] * across  # crop units
    expression = motions.expression.copy()
    expression[:, list(MOUTH), :2] += way / motions.scale[:, None, None]
    return replace(motions, expression=expression)


def _unlikeness(
    points: NDArray[np.float32], shapes: NDArray[np.float32], thumbnails: NDArray[np.uint8], pictures: list[int]
) -> NDArray[np.float64]:
    """How unlike the film each frame's mixture is, (1 + K, T), where lips stay and where they lean to window 1 ... K.

    Infinite for windows that are not among the `NEAREST`.
    """
    shown = np.stack([_texture(thumbnails[index], points[index]) for index in pictures])
    own = shapes[pictures]
    found = np.full((len(pictures), len(shapes)), np.inf)
    for begin in range(0, len(shapes), _BLOCK):
        here = np.arange(begin, min(begin + _BLOCK, len(shapes)))
        textures = np.stack([_texture(thumbnails[index], points[index]) for index in here])
        away = _away(own, shapes[here])
        near = np.argsort(away[1:], axis=0)[:NEAREST]
        found[0, here] = _unlike(away, textures, shown)
        for window in range(1, len(pictures)):
            which = (near == window - 1).any(0)
            lips = shapes[here[which]]
            leaning = lips + LEAN * (own[window] - lips)
            moved = np.sqrt(((leaning - lips) ** 2).sum(-1).mean(-1))
            found[window, here[which]] = _unlike(_away(own, leaning), textures[which], shown) + _MOVED * moved
    return found


def _away(own: NDArray[np.float32], lips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances of pictures' shapes (1 + K, 10, 2) from lips (N, 10, 2), (1 + K, N)."""
    return np.array([shape_distance(one, lips) for one in own])


def _unlike(
    away: NDArray[np.float32], textures: NDArray[np.float32], shown: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Distance of N textures from what pictures of textures `shown` give at distances (1 + K, N)."""
    unlike: NDArray[np.float64] = np.sqrt(((textures - NEARNESS.weights(away).T @ shown) ** 2).mean(-1))
    return unlike


def _path(unlikeness: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where the lips of each frame lean, (T,), so that all are like the film and changes are few (Viterbi 1967)."""
    cost = unlikeness[:, 0].copy()
    back = np.empty(unlikeness.shape[::-1], np.intp)
    for frame in range(1, unlikeness.shape[1]):
        best = int(cost.argmin())
        stays = cost <= cost[best] + _CHANGE
        back[frame] = np.where(stays, np.arange(len(cost)), best)
        cost = np.where(stays, cost, cost[best] + _CHANGE) + unlikeness[:, frame]
    path = np.empty(unlikeness.shape[1], np.intp)
    path[-1] = cost.argmin()
    for frame in range(len(path) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def _texture(thumbnail: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    return MOUTH_TEXTURE.texture(np.repeat(thumbnail[..., None], 3, -1), points)
