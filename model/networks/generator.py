"""G, the generator: source volume and flow to the driving frame (arXiv 2011.15126, figure 11)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.blocks import ResBlock, SameBlock, UpBlock


@dataclass(frozen=True)
class GeneratorConfig:
    """Widths of G; the defaults are the published ones at 256 px."""

    widths: tuple[int, ...] = (256, 128, 64)  # at the volume's size and after each doubling
    residual_blocks: int = 6  # 2D residual blocks at the volume's size
    leak: float = 0.2  # slope of the leaky ReLU after the projection


class Generator(nn.Module):
    """Warp the volume, fold its depth into channels, hide what the source does not show, and draw."""

    def __init__(self, config: GeneratorConfig, channels: int, depth: int) -> None:
        super().__init__()
        width = config.widths[0]
        self.project = nn.Sequential(
            SameBlock(2, channels * depth, width, leak=config.leak), nn.Conv2d(width, width, kernel_size=1)
        )
        self.residual = nn.Sequential(*(ResBlock(2, width) for _ in range(config.residual_blocks)))
        self.up = nn.Sequential(*(UpBlock(2, a, b) for a, b in pairwise(config.widths)))
        self.draw = nn.Conv2d(config.widths[-1], 3, kernel_size=7, padding=3)

    def forward(self, volume: Tensor, flow: Tensor, occlusion: Tensor) -> Tensor:
        """`volume` f_s (B, C, D, H, W), `flow` (B, D, H, W, 3), `occlusion` (B, 1, H, W); (B, 3, S, S) in [0, 1]."""
        warped = F.grid_sample(
            volume, flow.to(volume.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
        )  # (B, C, D, H, W)
        x = self.project(warped.flatten(1, 2))  # (B, 256, H, W)
        x = x * occlusion  # (B, 256, H, W)
        x = self.residual(x)  # (B, 256, H, W)
        x = self.up(x)  # (B, 64, S, S)
        return torch.sigmoid(self.draw(x))  # (B, 3, S, S)
