"""Lips moved to where the picture that windows make of them is most like the film.

Landmarks of one frame tremble, and what a window shows is not quite where its own landmarks are: both leave a mouth by
half a pixel where it is not. A file knows the film and all windows, so it draws each mouth nearly as a receiver will,
and lets the gradient of the difference say where the lips have to go (analysis by synthesis; Adam, Kingma and Ba
2015). The frames of windows show themselves and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.clip.mouth_patches import MouthPatches, drawn_places, in_light_of, is_drawn
from model.motion import CanonicalKeypoints, Motion
from model.networks.small.eyes import from_eye as from_mouth
from model.networks.small.eyes import to_eye as to_mouth
from model.networks.small.mouth import drawable, mouth_frame
from model.networks.small.spline import Spline
from model.networks.small_config import MOUTH
from model.source.mouth_choice import mouth_points
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, shape_distance

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
    patches: MouthPatches,
    source: int,
    windows: list[int],
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> Motion:
    """Motions (T,) of a clip with lips moved.

    source   the frame that is the source image; it and the windows' frames stay as they are
    windows  frames that mouth windows show; all are taken to be cut where `motions` have them
    bare     (T,) which mouths are seen; the others stay, as what lies before them is no mouth
    step     called T times, for each frame
    """
    if not windows:
        for _ in range(len(motions)):
            step()
        return motions
    points = mouth_points(canonical, motions)  # (T, 10, 2)
    with torch.inference_mode(False), torch.enable_grad():  # what was made in that mode has no gradients
        moves = _SHARE * _moves(points, patches, source, np.array(windows), bare, step)
    beside = np.pad(moves, ((1, 1), (0, 0), (0, 0)), mode="edge")
    moves = (beside[:-2] + 2 * moves + beside[2:]) / 4  # what changes at once would be seen, and cost bits
    moves[~bare] = 0
    moves[[source, *windows]] = 0
    expression = motions.expression.copy()
    expression[:, list(MOUTH), :2] += moves / motions.scale[:, None, None]
    return replace(motions, expression=expression)


def _moves(
    points: Floats,
    patches: MouthPatches,
    source: int,
    windows: NDArray[np.intp],
    bare: NDArray[np.bool_],
    step: Callable[[], object],
) -> Floats:
    """By how much lips (T, 10, 2) have to move, crop units."""
    lips = torch.from_numpy(points)
    shapes = corner_coordinates(points)
    away = np.array([shape_distance(shapes[index], shapes) for index in (source, *windows)])
    weights = NEARNESS.weights(away)[1:]  # (K, T)
    share = weights.sum(0).astype(np.float32)  # what is left of 1 is painted, and windows do not say where
    moved = drawable(mouth_frame(lips)[1].norm(dim=-1)).numpy() & (share > 0) & bare
    moved[[source, *windows]] = False
    frames = np.flatnonzero(moved)
    for _ in range(len(points) - len(frames)):
        step()
    moves = np.zeros_like(points)
    for begin in range(0, len(frames), _BLOCK):
        block = frames[begin : begin + _BLOCK]
        most = np.argsort(-weights[:, block], axis=0)[:_MOST].T  # (B, R)
        counts = np.take_along_axis(weights[:, block].T, most, 1)
        counts /= counts.sum(1, keepdims=True)
        found = _found(lips, patches, block, windows[most], torch.from_numpy(counts).float())
        moves[block] = share[block, None, None] * found
        for _ in block:
            step()
    return moves


def _found(
    lips: Tensor, patches: MouthPatches, frames: NDArray[np.intp], mixed: NDArray[np.intp], counts: Tensor
) -> Floats:
    """Moves (B, 10, 2) of some frames (B,), of which windows `mixed` (B, R) count `counts` (B, R)."""
    here, there = lips[frames].clone(), lips[mixed].clone()  # (B, 10, 2), (B, R, 10, 2)
    place = drawn_places(here)  # (B, N, 2)
    wanted, seen = patches.shown(frames).at(place)
    beside = patches.shown(mixed.ravel())
    seen &= is_drawn(place, here)
    share = seen[:, None] / seen.sum(1).clamp(min=1)[:, None, None]  # (B, 1, N)
    middle_there, axis_there = (x[:, :, None] for x in mouth_frame(there))
    shown = to_mouth(there, middle_there, axis_there)

    def difference(moves: Tensor) -> Tensor:
        moved = here + moves
        middle, axis = (x[:, None] for x in mouth_frame(moved))
        onto = Spline(to_mouth(moved, middle, axis)[:, None], shown)
        where = onto.at(to_mouth(place, middle, axis)[:, None])  # (B, R, N, 2)
        where = from_mouth(where[..., 0], where[..., 1], middle_there, axis_there)
        drawn, _ = beside.at(where.flatten(0, 1))
        drawn = (drawn.reshape(*mixed.shape, *drawn.shape[1:]) * counts[..., None, None]).sum(1)  # (B, 3, N)
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
