"""F, the appearance feature extractor: source image to 3D feature volume (arXiv 2011.15126, figure 11)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from model.networks.blocks import DownBlock, ResBlock, SameBlock


@dataclass(frozen=True)
class AppearanceConfig:
    """Widths of F; the defaults are the published ones at 256 px."""

    widths: tuple[int, ...] = (64, 128, 256)  # after the first convolution and after each halving of the image
    residual_blocks: int = 6  # 3D residual blocks on the volume


class AppearanceExtractor(nn.Module):
    """Runs once per source image. The volume is the image's features with depth cut out of their channels."""

    def __init__(self, config: AppearanceConfig, channels: int, depth: int) -> None:
        super().__init__()
        self.channels, self.depth = channels, depth
        self.stem = SameBlock(2, 3, config.widths[0], kernel=7)
        self.down = nn.Sequential(*(DownBlock(2, a, b) for a, b in pairwise(config.widths)))
        self.lift = nn.Conv2d(config.widths[-1], channels * depth, kernel_size=1)
        self.volume = nn.Sequential(*(ResBlock(3, channels) for _ in range(config.residual_blocks)))

    def forward(self, image: Tensor) -> Tensor:
        """Source image (B, 3, S, S) in [0, 1] to feature volume f_s (B, C, D, H, W), H = S / 2^(len(widths) - 1)."""
        x = self.stem(image)  # (B, 64, S, S)
        x = self.down(x)  # (B, 256, H, W)
        x = self.lift(x)  # (B, C D, H, W)
        x = x.unflatten(1, (self.channels, self.depth))  # (B, C, D, H, W)
        return self.volume(x)  # type: ignore[no-any-return]  # (B, C, D, H, W)
