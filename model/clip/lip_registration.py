"""Lips moved to where the picture that windows make of them is most like the film.

Landmarks of one frame tremble, and what a window shows is not quite where its own landmarks are: both leave a mouth by
half a pixel where it is not. A file knows the film and all windows, so it draws each mouth nearly as a receiver will,
and lets the gradient of the difference say where the lips have to go (analysis by synthesis; Adam, Kingma and Ba
2015). The frames of windows show themselves and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.clip.mouth_patches import MouthPatches, drawn_places, in_light_of, is_drawn
from model.clip.window_mixing import StackedWindows, counting_most, mixed_colours, window_weights
from model.motion import CanonicalKeypoints, Motion
from model.networks.small.mouth import drawable, mouth_frame
from model.networks.small_config import MOUTH
from model.source.mouth_choice import mouth_points
from model.window.mouth import MouthWindow

_STEPS = 6  # of Adam, for each frame
_STEP = 0.0015  # crop units that one of them may take
_BETAS = 0.5, 0.9  # a few steps have to do
_SIGMA = 0.004  # crop units by which landmarks of lips are wrong: half a pixel of 256
_PRIOR = 0.001  # of the mean square of what moves, in sigmas, against the mean difference of colours of [0, 1]
_SHARE = 0.7  # of what is found: a part of it is what windows show otherwise
_OTHER = 0.12  # of [0, 1]: a pixel that differs by more shows something else, such as teeth that the windows lack
_MOST = 6  # windows that are mixed, those that count most
_BLOCK = 32  # frames at a time


def registered(
    motions: Motion,
    canonical: CanonicalKeypoints,
    windows: Mapping[int, MouthWindow],
    patches: MouthPatches,
    source: int,
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> Motion:
    """Motions (T,) of a clip with lips moved.

    windows  by the frame that each shows; these frames stay as they are
    source   the frame that is the source image; it stays, too
    bare     (T,) which mouths are seen; the others stay, as what lies before them is no mouth
    step     called T times, for each frame
    """
    if not windows:
        for _ in range(len(motions)):
            step()
        return motions
    moved = bare.copy()
    moved[[source, *windows]] = False
    points = mouth_points(canonical, motions)  # (T, 10, 2)
    with torch.inference_mode(False), torch.enable_grad():  # what was made in that mode has no gradients
        moves = _SHARE * _moves(points, list(windows.values()), patches, source, moved, step)
    beside = np.pad(moves, ((1, 1), (0, 0), (0, 0)), mode="edge")
    moves = (beside[:-2] + 2 * moves + beside[2:]) / 4  # what changes at once would be seen, and cost bits
    moves[~moved] = 0
    expression = motions.expression.copy()
    expression[:, list(MOUTH), :2] += moves / motions.scale[:, None, None]
    return replace(motions, expression=expression)


def _moves(
    points: Floats,
    windows: list[MouthWindow],
    patches: MouthPatches,
    source: int,
    moved: NDArray[np.bool_],
    step: Callable[[], object],
) -> Floats:
    """By how much lips (T, 10, 2) have to move, crop units, where they may."""
    lips, stacked = torch.from_numpy(points), StackedWindows.of(windows)
    weights = window_weights(windows, points, source)  # (K, T)
    share = weights.sum(0).astype(np.float32)  # what is left of 1 is painted, and windows do not say where
    frames = np.flatnonzero(moved & drawable(mouth_frame(lips)[1].norm(dim=-1)).numpy() & (share > 0))
    for _ in range(len(points) - len(frames)):
        step()
    moves = np.zeros_like(points)
    for begin in range(0, len(frames), _BLOCK):
        block = frames[begin : begin + _BLOCK]
        mixed, counts = counting_most(weights[:, block], _MOST)
        moves[block] = share[block, None, None] * _found(lips[block], stacked, patches, block, mixed, counts)
        for _ in block:
            step()
    return moves


def _found(
    here: Tensor,
    windows: StackedWindows,
    patches: MouthPatches,
    frames: NDArray[np.intp],
    mixed: Tensor,
    counts: Tensor,
) -> Floats:
    """Moves (B, 10, 2) of lips `here` (B, 10, 2) in some frames (B,), of which windows `mixed` (B, R) count so much."""
    place = drawn_places(here)  # (B, N, 2)
    wanted, seen = patches.shown(frames).at(place)
    seen &= is_drawn(place, here)
    share = seen[:, None] / seen.sum(1).clamp(min=1)[:, None, None]  # (B, 1, N)

    def difference(moves: Tensor) -> Tensor:
        where = windows.places(here + moves, place, mixed)
        drawn = mixed_colours(windows.pictures, mixed, counts, where, "bicubic")
        error = (in_light_of(wanted, drawn, share) - wanted).abs().clamp(max=_OTHER)
        unlikely = (moves / _SIGMA).square().mean((1, 2))
        out: Tensor = (error * share).sum(-1).mean(1) + _PRIOR * unlikely
        return out

    moves = torch.zeros_like(here, requires_grad=True)
    best, found = torch.full(here.shape[:1], torch.inf), torch.zeros_like(here)
    adam = torch.optim.Adam([moves], lr=_STEP, betas=_BETAS)
    for last in (*[False] * _STEPS, True):
        errors = difference(moves)
        better = errors.detach() < best
        best = torch.where(better, errors.detach(), best)
        found = torch.where(better[:, None, None], moves.detach(), found)
        if not last:
            adam.zero_grad()
            errors.sum().backward()  # type: ignore[no-untyped-call]
            adam.step()
    placed: Floats = found.numpy()
    return placed
