"""F: the source image becomes a 3D appearance feature volume and 2D skip features (arXiv 2011.15126, section 3.1).

Depth is folded into the channels of 2D convolutions, which run several times faster on a CPU than 3D ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.networks.small.blocks import ConvBlock, ResidualBlock
from model.networks.small_config import SmallConfig


class SmallAppearance(nn.Module):
    """Runs once per source image."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        half, quarter, eighth = config.skips
        self.depth = config.depth
        self.to_half = nn.Sequential(ConvBlock(3, half, 5, 2), ResidualBlock(half))
        self.to_quarter = nn.Sequential(ConvBlock(half, quarter, 3, 2), ResidualBlock(quarter), ResidualBlock(quarter))
        self.to_eighth = nn.Sequential(ConvBlock(quarter, eighth, 3, 2), *(ResidualBlock(eighth) for _ in range(3)))
        # Context from twice the field of view helps to guess what lies behind the visible surface.
        self.context = nn.Sequential(ConvBlock(eighth, 96, 3, 2), *(ResidualBlock(96) for _ in range(4)))
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.volume = nn.Sequential(
            ConvBlock(eighth + 96, 96),
            ResidualBlock(96),
            ResidualBlock(96),
            nn.Conv2d(96, config.volume * config.depth, 1),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1] -> the features that a receiver caches."""
        half = self.to_half(image * 2 - 1)  # (B, 16, S/2, S/2)
        quarter = self.to_quarter(half)  # (B, 32, S/4, S/4)
        eighth = self.to_eighth(quarter)  # (B, 64, S/8, S/8)
        context = self.up(self.context(eighth))  # (B, 96, S/8, S/8)
        folded = self.volume(torch.cat([eighth, context], 1))  # (B, C * D, S/8, S/8)
        volume = folded.unflatten(1, (-1, self.depth))  # (B, C, D, S/8, S/8)
        return {"image": image, "half": half, "quarter": quarter, "eighth": eighth, "volume": volume}
