"""Sampling a volume by gathering rows: for traced graphs, whose engine samples planes alone."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor


def gather_volume(volume: Tensor, flow: Tensor) -> Tensor:
    """Trilinear sampling that equals `grid_sample(volume, flow, padding_mode="zeros", align_corners=False)`.

    volume  (B, C, D, h, w)
    flow    (B, D', H, W, 3) source coordinates x, y, z; cell i of n lies at (2 i + 1) / n - 1, nothing lies outside
    Returns (B, C, D', H, W).
    """
    b, c, d, h, w = volume.shape
    rows = volume.flatten(2).mT.reshape(-1, c)  # (B D h w, C)
    points = flow.reshape(b, -1, 3)  # (B, N, 3)
    first = torch.arange(b, dtype=torch.int32, device=volume.device)[:, None] * (d * h * w)  # (B, 1)
    x, y, z = (_neighbours(points[..., axis], count) for axis, count in enumerate((w, h, d)))
    total = volume.new_zeros(())
    for (i, in_x), (j, in_y), (k, in_z) in product(x, y, z):
        cell = first + (k * h + j) * w + i  # (B, N)
        row = rows.index_select(0, cell.reshape(-1)).reshape(b, -1, c)  # (B, N, C)
        total = total + row * (in_x * in_y * in_z)[..., None]
    return total.mT.reshape(b, c, *flow.shape[1:4])


def _neighbours(coordinate: Tensor, count: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two cells around each coordinate (B, N) on an axis of `count` cells, int32, and what each weighs."""
    position = ((coordinate + 1) * count - 1) * 0.5
    low = position.floor()
    share = position - low
    return _cell(low, 1 - share, count), _cell(low + 1, share, count)


def _cell(index: Tensor, weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    # A comparison, not a clamp: what is no number at all must not become the address of a row.
    inside = (index >= 0) & (index <= count - 1)
    zero = torch.zeros_like(index)
    return torch.where(inside, index, zero).to(torch.int32), torch.where(inside, weight, zero)
