"""Sampling positions: pixel and voxel centres in crop units, the coordinates that `grid_sample` reads.

Pixel i of n lies at (2 i + 1) / n - 1 (`align_corners=False`), as in `model.motion`. Components are ordered x, y, z.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

Made = Callable[[int, int, torch.dtype, torch.device], Tensor]
"""What depends on two sizes, and is of a type and on a device."""


def kept(make: Made) -> Made:
    """Keeps what `make` gives, which is not to be written to; in a trace it is operations, not a large constant."""

    @lru_cache(32)
    def once(first: int, second: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        with torch.inference_mode(False):  # for calls that need gradients too
            return make(first, second, dtype, device)

    @wraps(make)
    def given(first: int, second: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        return make(first, second, dtype, device) if tracing else once(first, second, dtype, device)

    return given


def centres(count: int, like: Tensor) -> Tensor:
    """Centres of `count` equal cells of [-1, 1], (count,), in the type and on the device of `like`."""
    return (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(H, W, 2) the x, y of every pixel centre, in the type and on the device of `like`; not to be written to."""
    return _pixel_grid(height, width, like.dtype, like.device)


@kept
def _pixel_grid(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    like = torch.empty(0, dtype=dtype, device=device)
    y, x = torch.meshgrid(centres(height, like), centres(width, like), indexing="ij")
    return torch.stack([x, y], -1)


def away_from_oval(points: Tensor, size: int) -> Tensor:
    """(B, size, size) how far pixels lie from the middle of the upright oval around points (B, N, 2): 1 on the oval."""
    low, high = points.amin(1), points.amax(1)
    middle, half = ((high + low) / 2)[:, None, None], ((high - low) / 2).clamp(min=1e-3)[:, None, None]
    out: Tensor = ((pixel_grid(size, size, points) - middle) / half).norm(dim=-1)
    return out


def voxel_grid(depth: int, height: int, width: int, like: Tensor) -> Tensor:
    """(D, H, W, 3) the x, y, z of every voxel centre."""
    z, y, x = torch.meshgrid(centres(depth, like), centres(height, like), centres(width, like), indexing="ij")
    return torch.stack([x, y, z], -1)


def gaussian_heatmaps(points: Tensor, grid: Tensor, variance: float) -> Tensor:
    """exp(-|p - x_k|^2 / (2 variance)) of `points` (B, K, n) at `grid` (..., n); returns (B, K, ...), 1 at x_k."""
    spatial = grid.shape[:-1]
    centre = points.reshape(*points.shape[:2], *(1 for _ in spatial), points.shape[-1])  # (B, K, 1, ..., n)
    square = (grid - centre).square().sum(-1)  # (B, K, ...)
    return torch.exp(square / (-2 * variance))
