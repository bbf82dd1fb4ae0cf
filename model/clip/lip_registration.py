"""Lips moved to where the picture that windows make of them is most like the film.

Landmarks of one frame tremble, and what a window shows is not quite where its own landmarks are: both leave a mouth by
half a pixel where it is not. A file knows the film and all windows, so it draws each mouth nearly as a receiver will,
and lets the gradient of the difference say where the lips have to go (analysis by synthesis; Adam, Kingma and Ba
2015). The frames of windows show themselves and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.motion import CanonicalKeypoints, Motion
from model.networks.small.eyes import from_eye as from_mouth
from model.networks.small.eyes import to_eye as to_mouth
from model.networks.small.mouth import BESIDE, drawable, inside_lips, mouth_frame
from model.networks.small.overlay import GAIN
from model.networks.small.spline import Spline
from model.networks.small_config import MOUTH
from model.source.mouth_choice import mouth_points
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, shape_distance

PATCH = 96
"""Pixels of a mouth's square, of 256; beyond it, as of a mouth that fills half of the picture, its border goes on."""

_STEPS = 6  # of Adam, for each frame
_STEP = 0.0015  # crop units that one of them may take
_BETAS = 0.5, 0.9  # a few steps have to do
_SIGMA = 0.004  # crop units by which landmarks of lips are wrong: half a pixel of 256
_PRIOR = 0.001  # of the mean square of what moves, in sigmas, against the mean difference of colours of [0, 1]
_SHARE = 0.7  # of what is found: a part of it is what windows show otherwise
_OTHER = 0.12  # of [0, 1]: a pixel that differs by more shows something else, such as teeth that the windows lack
_COLUMNS, _ROWS = 48, 32  # places at which a mouth is compared
_MOST = 6  # windows that are mixed, those that count most
_BLOCK = 32  # frames at a time


@dataclass(frozen=True)
class MouthPatches:
    """Squares around the mouths of a clip's frames."""

    pictures: NDArray[np.uint8]  # (T, 96, 96, 3)
    corners: NDArray[np.int64]  # (T, 2) x and y of their first pixels
    size: int  # side of the pictures that they are cut from

    @staticmethod
    def of(pictures: NDArray[np.uint8], points: NDArray[np.float32]) -> MouthPatches:
        """Those of crops (T, S, S, 3) whose mouths' keypoints are (T, 10, 2), crop units."""
        squares, corners = zip(*(mouth_patch(*pair) for pair in zip(pictures, points, strict=True)), strict=True)
        return MouthPatches(np.stack(squares), np.array(corners), pictures.shape[1])

    def shown(self, frames: NDArray[np.intp]) -> _Shown:
        """Those of B frames."""
        pictures = torch.from_numpy(self.pictures[frames]).permute(0, 3, 1, 2).float() / 255
        return _Shown(pictures, torch.from_numpy(self.corners[frames]).float()[:, None], self.size)


@dataclass(frozen=True)
class _Shown:
    """Squares of B frames, to be looked at again and again."""

    pictures: Tensor  # (B, 3, 96, 96) in [0, 1]
    corners: Tensor  # (B, 1, 2)
    size: int

    def at(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (B, 3, N) at places (B, N, 2), crop units, and which of these are in the squares."""
        where = ((place + 1) * self.size / 2 - self.corners) * (2 / PATCH) - 1
        found = F.grid_sample(self.pictures, where[:, None], mode="bicubic", padding_mode="border", align_corners=False)
        return found[:, :, 0], (where.abs() < 1).all(-1)


def mouth_patch(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The square (96, 96) around the mouth of a crop (S, S, 3), whose keypoints are (10, 2), and its first pixel."""
    size = len(picture)
    middle = (np.nan_to_num(points[:2].mean(0)) + 1) * size / 2
    x, y = (int(v) for v in np.clip(np.round(middle).astype(int) - PATCH // 2, 0, size - PATCH))
    return picture[y : y + PATCH, x : x + PATCH], (x, y)


def registered(
    motions: Motion,
    canonical: CanonicalKeypoints,
    patches: MouthPatches,
    source: int,
    windows: list[int],
    step: Callable[[], object] = lambda: None,
) -> Motion:
    """Motions (T,) of a clip with lips moved.

    source   the frame that is the source image; it and the windows' frames stay as they are
    windows  frames that mouth windows show; all are taken to be cut where `motions` have them
    step     called T times, for each frame
    """
    if not windows:
        for _ in range(len(motions)):
            step()
        return motions
    points = mouth_points(canonical, motions)  # (T, 10, 2)
    with torch.inference_mode(False), torch.enable_grad():  # what was made in that mode has no gradients
        moves = _SHARE * _moves(points, patches, source, np.array(windows), step)
    beside = np.pad(moves, ((1, 1), (0, 0), (0, 0)), mode="edge")
    moves = (beside[:-2] + 2 * moves + beside[2:]) / 4  # what changes at once would be seen, and cost bits
    moves[[source, *windows]] = 0
    expression = motions.expression.copy()
    expression[:, list(MOUTH), :2] += moves / motions.scale[:, None, None]
    return replace(motions, expression=expression)


def _moves(
    points: Floats, patches: MouthPatches, source: int, windows: NDArray[np.intp], step: Callable[[], object]
) -> Floats:
    """By how much lips (T, 10, 2) have to move, crop units."""
    lips = torch.from_numpy(points)
    shapes = corner_coordinates(points)
    away = np.array([shape_distance(shapes[index], shapes) for index in (source, *windows)])
    weights = NEARNESS.weights(away)[1:]  # (K, T)
    share = weights.sum(0).astype(np.float32)  # what is left of 1 is painted, and windows do not say where
    moved = drawable(mouth_frame(lips)[1].norm(dim=-1)).numpy() & (share > 0)
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
    place = _places(here)  # (B, N, 2)
    middle, axis = (x[:, None] for x in mouth_frame(here))
    wanted, seen = patches.shown(frames).at(place)
    beside = patches.shown(mixed.ravel())
    seen &= inside_lips(to_mouth(place, middle, axis), to_mouth(here, middle, axis)) > -BESIDE
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
        with torch.no_grad():
            gain = ((wanted * share).sum(-1) + 1e-3) / ((drawn * share).sum(-1) + 1e-3)
        error = (drawn * gain.clamp(*GAIN)[..., None] - wanted).abs().clamp(max=_OTHER)
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


def _places(lips: Tensor) -> Tensor:
    """A grid (B, N, 2), crop units, over the lips (B, 10, 2) and the skin that is drawn with them."""
    middle, axis = (x[:, None] for x in mouth_frame(lips))
    own = to_mouth(lips, middle, axis)
    low, high = own.amin(1) - BESIDE, own.amax(1) + BESIDE  # (B, 2)
    u, v = (torch.linspace(0, 1, n) for n in (_COLUMNS, _ROWS))
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(1, -1, 2)
    at = low[:, None] + grid * (high - low)[:, None]
    return from_mouth(at[..., 0], at[..., 1], middle, axis)
