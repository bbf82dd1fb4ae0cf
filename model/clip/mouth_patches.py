"""Pictures of the mouths of a clip, and the places in them at which what is drawn is compared with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.networks.small.eyes import from_eye as from_mouth
from model.networks.small.eyes import to_eye as to_mouth
from model.networks.small.mouth import BESIDE, inside_lips, mouth_frame
from model.networks.small.overlay import GAIN

PATCH = 96
"""Pixels of a mouth's square, of 256; beyond it, as of a mouth that fills half of the picture, its border goes on."""

COLUMNS, ROWS = 48, 32
"""Places at which a mouth is compared."""


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

    def shown(self, frames: NDArray[np.intp]) -> ShownPatches:
        """Those of B frames."""
        pictures = torch.from_numpy(self.pictures[frames]).permute(0, 3, 1, 2).float() / 255
        return ShownPatches(pictures, torch.from_numpy(self.corners[frames]).float()[:, None], self.size)


@dataclass(frozen=True)
class ShownPatches:
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


def drawn_places(lips: Tensor) -> Tensor:
    """A grid (B, ROWS COLUMNS, 2), row after row, over the lips (B, 10, 2) and the skin drawn with them; crop units."""
    middle, axis = (x[:, None] for x in mouth_frame(lips))
    own = to_mouth(lips, middle, axis)
    low, high = own.amin(1) - BESIDE, own.amax(1) + BESIDE  # (B, 2)
    u, v = (torch.linspace(0, 1, n) for n in (COLUMNS, ROWS))
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(1, -1, 2)
    at = low[:, None] + grid * (high - low)[:, None]
    return from_mouth(at[..., 0], at[..., 1], middle, axis)


def is_drawn(place: Tensor, lips: Tensor) -> Tensor:
    """Which places (B, N, 2) lie on the lips (B, 10, 2) or the skin that is drawn with them, crop units."""
    middle, axis = (x[:, None] for x in mouth_frame(lips))
    found: Tensor = inside_lips(to_mouth(place, middle, axis), to_mouth(lips, middle, axis)) > -BESIDE
    return found


def in_light_of(wanted: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """What is drawn (B, 3, N) in the light of what is wanted; a receiver has it of the skin around the lips alone.

    share  (B, 1, N) what each place counts, in the sum 1
    """
    with torch.no_grad():
        gain = ((wanted * share).sum(-1) + 1e-3) / ((drawn * share).sum(-1) + 1e-3)
    return drawn * gain.clamp(*GAIN)[..., None]
