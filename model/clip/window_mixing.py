"""What a receiver mixes of a file's mouth windows, so that its sender can take gradients of it.

As `model/networks/small/mouth.py` draws, but for places on a grid, of windows of one size, of those few that count
most, and without the painted face around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.networks.small.eyes import to_eye as to_mouth
from model.networks.small.mouth import mouth_frame
from model.networks.small.spline import Spline
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, MouthWindow, shape_distance

_SIDE = 64  # pixels of all windows here; most have that or a little less


def window_weights(windows: Sequence[MouthWindow], lips: Floats, source: int) -> NDArray[np.float64]:
    """What each window counts for the mouths of a clip, (K, T); what is left of 1 is painted.

    lips    (T, 10, 2) keypoints of its mouths, crop units
    source  the frame that is the source image
    """
    shapes = corner_coordinates(lips)
    own = (shapes[source], *(window.points for window in windows))
    weights: NDArray[np.float64] = NEARNESS.weights(np.array([shape_distance(one, shapes) for one in own]))[1:]
    return weights


def counting_most(weights: NDArray[np.float64], most: int) -> tuple[Tensor, Tensor]:
    """Numbers (B, R) of the windows that count most, of weights (K, B), and what each counts, (B, R), in the sum 1."""
    mixed = torch.from_numpy(np.argsort(-weights, axis=0)[:most].T.copy())
    counts = torch.from_numpy(weights.T.astype(np.float32)).gather(1, mixed)
    return mixed, counts / counts.sum(1, keepdim=True)


@dataclass(frozen=True)
class StackedWindows:
    """K windows, to be sampled together."""

    pictures: Tensor  # (K, 3, 64, 64) in [0, 1]
    points: Tensor  # (K, 10, 2) mouth coordinates
    extent: Tensor  # (K, 2) v of the middle and half of the side, mouth coordinates

    @staticmethod
    def of(windows: Sequence[MouthWindow]) -> StackedWindows:
        """One window at least."""
        pictures = [
            torch.from_numpy(np.array(window.picture)).permute(2, 0, 1)[None].float() / 255 for window in windows
        ]
        stacked = [F.interpolate(one, (_SIDE, _SIDE), mode="bicubic", antialias=True) for one in pictures]
        points = torch.from_numpy(np.stack([window.points for window in windows]))
        return StackedWindows(
            torch.cat(stacked), points, torch.tensor([(window.middle, window.half) for window in windows])
        )

    def places(self, lips: Tensor, place: Tensor, mixed: Tensor) -> Tensor:
        """Where windows `mixed` (B, R) are drawn from, -1 to 1, (B, R, N, 2).

        lips (B, 10, 2) keypoints and place (B, N, 2), crop units
        """
        middle, axis = (x[:, None] for x in mouth_frame(lips))
        onto = Spline(to_mouth(lips, middle, axis)[:, None], self.points[mixed])
        where = onto.at(to_mouth(place, middle, axis)[:, None])
        extent = self.extent[mixed][..., None, :]  # (B, R, 1, 2)
        return torch.stack([where[..., 0], where[..., 1] - extent[..., 0]], -1) / extent[..., 1:]


def mixed_colours(
    pictures: Tensor, mixed: Tensor, counts: Tensor, where: Tensor, mode: Literal["bilinear", "bicubic"]
) -> Tensor:
    """Colours (B, 3, N) of pictures (K, 3, C, C), of which `mixed` (B, R) count `counts` (B, R), at (B, R, N, 2)."""
    # Not by indexing, whose gradient is summed in any order: the same clip gives the same bytes.
    chosen, places = pictures.index_select(0, mixed.flatten()), where.flatten(0, 1)[:, None]
    found = F.grid_sample(chosen, places, mode=mode, padding_mode="border", align_corners=False)
    return (found.reshape(*mixed.shape, 3, -1) * counts[..., None, None]).sum(1)
