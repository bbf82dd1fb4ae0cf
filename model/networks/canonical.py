"""L, the canonical keypoint detector: source image to keypoints in neutral pose and expression.

arXiv 2011.15126, section 3.1 and figure 11; the Jacobians are those of its first version.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import CanonicalKeypoints
from model.networks.blocks import DownBlock, UpBlock
from model.networks.grid import centres


@dataclass(frozen=True)
class CanonicalConfig:
    """Widths of L; the defaults are the published ones."""

    image_size: int = 64  # the image is reduced to this before the network sees it
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # of the 2D down blocks; the 3D up blocks mirror them
    outputs: int = 32  # channels of the last up block
    kernel: int = 7  # of the keypoint and Jacobian heads
    temperature: float = 0.1  # of the softmax that turns scores into a heatmap


class CanonicalDetector(nn.Module):
    """An encoder in the plane, a decoder in space, and a soft arg-max for each keypoint."""

    def __init__(self, config: CanonicalConfig, keypoints: int, depth: int, jacobians: bool) -> None:
        super().__init__()
        self.config, self.keypoints, self.depth = config, keypoints, depth
        widths = config.widths
        self.down = nn.Sequential(*(DownBlock(2, a, b) for a, b in pairwise((3, *widths))))
        self.lift = nn.Conv2d(widths[-1], widths[-1] * depth, kernel_size=1)
        self.up = nn.Sequential(*(UpBlock(3, a, b) for a, b in pairwise((*reversed(widths), config.outputs))))
        # No bias: the softmax over the positions does not see a constant.
        self.scores = nn.Conv3d(config.outputs, keypoints, config.kernel, padding=config.kernel // 2, bias=False)
        self.jacobians: nn.Conv3d | None = None
        if jacobians:
            self.jacobians = nn.Conv3d(config.outputs, 9 * keypoints, config.kernel, padding=config.kernel // 2)
            nn.init.zeros_(self.jacobians.weight)  # training starts at J_c = identity
            assert self.jacobians.bias is not None
            with torch.no_grad():
                self.jacobians.bias.copy_(torch.eye(3).flatten().repeat(keypoints))

    def forward(self, image: Tensor) -> CanonicalKeypoints:
        """Source image (B, 3, S, S) in [0, 1] to points x_c (B, K, 3) in [-1, 1] and Jacobians J_c (B, K, 3, 3)."""
        size = (self.config.image_size, self.config.image_size)
        x = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)  # (B, 3, 64, 64)
        x = self.down(x)  # (B, 1024, 2, 2)
        x = self.lift(x).unflatten(1, (-1, self.depth))  # (B, 1024, D, 2, 2)
        x = self.up(x)  # (B, 32, D, 64, 64)
        scores = self.scores(x)  # (B, K, D, 64, 64)
        heat = torch.softmax(scores.flatten(2) / self.config.temperature, -1).reshape(scores.shape)  # (B, K, D, 64, 64)
        points = mean_position(heat)  # (B, K, 3)
        if self.jacobians is None:
            return CanonicalKeypoints(points)
        maps = self.jacobians(x).unflatten(1, (self.keypoints, 9))  # (B, K, 9, D, 64, 64)
        local = (maps * heat.unsqueeze(2)).sum((3, 4, 5))  # (B, K, 9): the heatmap's mean of the map
        return CanonicalKeypoints(points, local.unflatten(-1, (3, 3)))  # (B, K, 3, 3)


def mean_position(heat: Tensor) -> Tensor:
    """Soft arg-max: mean voxel centre x, y, z (B, K, 3) of heatmaps (B, K, D, H, W) that sum to 1.

    By marginals, not as one matrix product: a flat heatmap is below half precision's normal range, and autocast would
    run the product there.
    """
    marginals = heat.sum((2, 3)), heat.sum((2, 4)), heat.sum((3, 4))  # (B, K, W), (B, K, H), (B, K, D)
    return torch.stack([(m * centres(m.shape[-1], m)).sum(-1) for m in marginals], -1)
