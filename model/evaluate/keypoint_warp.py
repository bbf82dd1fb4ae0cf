"""Baseline: the source image warped by the keypoints alone, no network behind them.

What a codec could do with the motion stream and a classical image warp: where it is good, the generator is not needed;
where the model does not beat it, the generator is not working.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import pixel_grid

RADIUS = 0.12
"""Standard deviation in crop units of each keypoint's Gaussian, about half the distance of the eyes."""

BACKGROUND = 0.05
"""Weight of standing still against the keypoints' Gaussians (1 at a keypoint)."""

_GRID = 64


def keypoint_warp(source: Tensor, source_points: Tensor, driving_points: Tensor) -> Tensor:
    """Move the pixels of `source` as its keypoints move.

    source          (1 or B, 3, H, W) in [0, 1]
    source_points   (1 or B, K, 2 or 3) crop units, keypoints of the source image
    driving_points  (B, K, 2 or 3) where they are in the driving frames
    Returns (B, 3, H, W). Backward flow: driving pixel p reads the source at p plus a normalised Gaussian-weighted mean
    of the displacements x_s - x_d of the keypoints near p (Shepard interpolation, with a constant weight for rest).
    """
    batch = driving_points.shape[0]
    height, width = source.shape[-2:]
    grid = pixel_grid(_GRID, _GRID, source)  # (G, G, 2)
    driving = driving_points[..., :2]  # (B, K, 2)
    displacement = source_points[..., :2] - driving  # (B, K, 2)
    squared = ((grid[None, :, :, None] - driving[:, None, None]) ** 2).sum(-1)  # (B, G, G, K)
    weight = torch.exp(-squared / (2 * RADIUS**2))
    flow = torch.einsum("bijk,bkc->bijc", weight, displacement) / (weight.sum(-1, keepdim=True) + BACKGROUND)
    fine = F.interpolate(flow.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=False)
    at = pixel_grid(height, width, source) + fine.permute(0, 2, 3, 1)
    return F.grid_sample(
        source.expand(batch, -1, -1, -1), at, mode="bilinear", padding_mode="border", align_corners=False
    )
