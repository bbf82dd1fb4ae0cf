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
    pairs = torch.cat([rows[:-1], rows[1:]], 1)  # each cell and the next one along x: half as many rows are gathered
    points = flow.reshape(b, -1, 3)  # (B, N, 3)
    first = torch.arange(b, dtype=torch.int32, device=volume.device)[:, None] * (d * h * w)  # (B, 1)
    x, in_left, in_right = _pair(points[..., 0], w)
    y, z = (_neighbours(points[..., axis], count) for axis, count in ((1, h), (2, d)))
    total = volume.new_zeros(())
    for (j, in_y), (k, in_z) in product(y, z):
        cell = first + (k * h + j) * w + x  # (B, N)
        pair = pairs.index_select(0, cell.reshape(-1)).reshape(b, -1, 2 * c)  # (B, N, 2C)
        total = total + pair * (in_y * in_z)[..., None]
    total = total[..., :c] * in_left[..., None] + total[..., c:] * in_right[..., None]
    return total.mT.reshape(b, c, *flow.shape[1:4])


def _pair(coordinate: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first of two cells that lie side by side, (B, N) int32, on an axis of two or more; what either weighs."""
    position = ((coordinate + 1) * count - 1) * 0.5
    low = position.floor()
    share = position - low
    inside = (low >= -1) & (low <= count - 1)  # a comparison, as in `_cell`
    zero = torch.zeros_like(low)
    first = torch.where(inside, low, zero).clamp(0, count - 2)
    beyond = low - first  # 0; at the borders -1 or 1, where one of the two cells is not there
    left = torch.where(beyond == 0, 1 - share, torch.where(beyond < 0, share, zero))
    right = torch.where(beyond == 0, share, torch.where(beyond > 0, 1 - share, zero))
    return first.to(torch.int32), torch.where(inside, left, zero), torch.where(inside, right, zero)


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
