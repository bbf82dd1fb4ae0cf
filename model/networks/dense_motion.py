"""M, the dense motion network: keypoints of source and driving frame to one flow field through the volume.

arXiv 2011.15126, section 3.2 and figure 11. Each keypoint proposes the flow of its neighbourhood, the background
proposes none; a mask over these K + 1 proposals, estimated from what each of them does to the features, blends them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, relative_jacobians
from model.networks.blocks import Hourglass3d, SameBlock
from model.networks.grid import gaussian_heatmaps, voxel_grid


@dataclass(frozen=True)
class DenseMotionConfig:
    """Widths of M; the defaults are the published ones."""

    compressed: int = 4  # channels to which the volume is reduced before it is warped K + 1 times
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # of the hourglass' down blocks
    outputs: int = 32  # channels of its last up block
    kernel: int = 7  # of the mask and occlusion heads
    variance: float = 0.01  # of the keypoint heatmaps, crop units squared


@dataclass(frozen=True)
class DenseMotionField:
    """What M gives to the generator."""

    flow: Tensor  # (B, D, H, W, 3) source position x, y, z that each driving voxel reads, crop units
    mask: Tensor  # (B, K + 1, D, H, W) share of each proposal, sums to 1 over dimension 1; 0 is the identity
    occlusion: Tensor  # (B, 1, H, W) in [0, 1]; 0 = nothing in the source shows what is here


def local_maps(canonical: CanonicalKeypoints, source: Motion, driving: Motion) -> Tensor:
    """J_s J_d^-1 of each keypoint, (B, K, 3, 3), times the ratio of the scales: how its surroundings move.

    J = R in version 3 of the paper, where the inverse is a transposition; J = R J_c in version 1. Both keypoint sets
    stem from one canonical set, so a learned J_c cancels here (R_s J_c J_c^-1 R_d^-1 = R_s R_d^-1) and is shaped by the
    equivariance of Jacobians alone.
    """
    at_source, at_driving = relative_jacobians(canonical, source), relative_jacobians(canonical, driving)
    if canonical.jacobians is None:
        inverse = at_driving.mT
    else:
        inverse = torch.linalg.inv_ex(at_driving.float())[0].to(at_driving.dtype)  # no host sync, no half-precision LU
    ratio: Tensor = source.scale / driving.scale  # (B,)
    maps: Tensor = ratio[:, None, None, None] * (at_source @ inverse)
    return maps


def keypoint_flows(grid: Tensor, source: Tensor, driving: Tensor, maps: Tensor) -> Tensor:
    """w_k(p) = J_s J_d^-1 (p - x_d,k) + x_s,k with w_0(p) = p; arXiv 2011.15126 eq. 4 (version 1: with J).

    `grid` (D, H, W, 3), keypoints `source` and `driving` (B, K, 3), `maps` (B, K, 3, 3); returns
    (B, K + 1, D, H, W, 3).
    """
    flat = grid.reshape(-1, 3)  # (P, 3)
    offset = source - (maps @ driving.unsqueeze(-1)).squeeze(-1)  # (B, K, 3)
    flows = flat @ maps.mT + offset.unsqueeze(2)  # (B, K, P, 3)
    flows = torch.cat([flat.expand(len(flows), 1, -1, -1), flows], 1)  # (B, K + 1, P, 3)
    return flows.reshape(*flows.shape[:2], *grid.shape)  # (B, K + 1, D, H, W, 3)


class DenseMotionNetwork(nn.Module):
    """Compress the volume, warp it by every proposal, and decide in an hourglass which proposal holds where."""

    def __init__(self, config: DenseMotionConfig, keypoints: int, channels: int, depth: int) -> None:
        super().__init__()
        self.config = config
        proposals = keypoints + 1
        self.compress = SameBlock(3, channels, config.compressed, kernel=1)
        self.hourglass = Hourglass3d(proposals * (config.compressed + 1), config.widths, config.outputs)
        inner = self.hourglass.channels
        self.mask = nn.Conv3d(inner, proposals, config.kernel, padding=config.kernel // 2)
        self.occlusion = nn.Conv2d(inner * depth, 1, config.kernel, padding=config.kernel // 2)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor, maps: Tensor) -> DenseMotionField:
        """`volume` (B, C, D, H, W), `source` and `driving` keypoints (B, K, 3), `maps` (B, K, 3, 3)."""
        depth, height, width = volume.shape[2:]
        grid = voxel_grid(depth, height, width, source)  # (D, H, W, 3)
        flows = keypoint_flows(grid, source, driving, maps)  # (B, K + 1, D, H, W, 3)
        small = self.compress(volume)  # (B, 4, D, H, W)
        warped = warp_by_each(small, flows)  # (B, K + 1, 4, D, H, W)
        change = gaussian_heatmaps(driving, grid, self.config.variance) - gaussian_heatmaps(
            source, grid, self.config.variance
        )  # (B, K, D, H, W)
        change = F.pad(change, (0, 0, 0, 0, 0, 0, 1, 0)).unsqueeze(2)  # (B, K + 1, 1, D, H, W): none for the identity
        x = torch.cat([change.to(warped.dtype), warped], 2).flatten(1, 2)  # (B, 5 (K + 1), D, H, W)
        x = self.hourglass(x)  # (B, 32 + 5 (K + 1), D, H, W)
        mask = torch.softmax(self.mask(x), 1)  # (B, K + 1, D, H, W)
        flow = torch.einsum("bkdhw,bkdhwi->bdhwi", mask.to(flows.dtype), flows)  # (B, D, H, W, 3)
        occlusion = torch.sigmoid(self.occlusion(x.flatten(1, 2)))  # (B, 1, H, W)
        return DenseMotionField(flow, mask, occlusion)


def warp_by_each(volume: Tensor, flows: Tensor) -> Tensor:
    """Sample `volume` (B, C, D, H, W) along N flow fields (B, N, D, H, W, 3); returns (B, N, C, D, H, W)."""
    count, depth = flows.shape[1:3]
    # The N fields stand below each other along the depth of one sampling, so that the volume is not repeated.
    stacked = flows.flatten(1, 2).to(volume.dtype)  # (B, N D, H, W, 3)
    warped = F.grid_sample(volume, stacked, mode="bilinear", padding_mode="zeros", align_corners=False)
    split = warped.reshape(*warped.shape[:2], count, depth, *warped.shape[3:])  # (B, C, N, D, H, W)
    return split.transpose(1, 2)  # (B, N, C, D, H, W)
