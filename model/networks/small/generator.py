"""G: the warped volume, warped skip features and the warped source pixels become the frame (section 3.2).

Fine detail is copied, not re-invented: the output is a matte between the source's own pixels, warped at full size,
and what the network paints where the source cannot tell (mouth interior, closed lids, what was hidden). The source's
pixels come in two layers, the person before what lies behind: neither bends the other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.rendered import Layers, Rendered
from model.networks.small.blocks import ConvBlock, ResidualBlock, resize_flow, sample_volume, upsample, warp
from model.networks.small.config import SmallConfig
from model.networks.small.dense_motion import DenseMotion


class SmallGenerator(nn.Module):
    """Three scales, 1/8 to 1/2 of the picture, and a pixel shuffle to full size."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        half, quarter, _ = config.skips
        a, b, c = config.generator
        folded = config.volume * config.depth
        self.enter = ConvBlock(folded + 64, c)  # 1/8
        self.body = nn.Sequential(ResidualBlock(c), ResidualBlock(c))
        self.to_quarter = nn.Sequential(ConvBlock(c + quarter + 32, b), ResidualBlock(b))  # 1/4
        self.to_half = nn.Sequential(ConvBlock(b + half + 12, a), ConvBlock(a, a))  # 1/2; 12 = 2x2 warped pixels
        self.paint = nn.Conv2d(a, 4 * 4, 3, 1, 1)  # pixel shuffle: three colours and a matte
        nn.init.zeros_(self.paint.weight)
        assert self.paint.bias is not None
        nn.init.zeros_(self.paint.bias)
        with torch.no_grad():
            self.paint.bias[12:] = 0.5  # begins as a warp of the source, but lets the painting learn

    def forward(self, features: dict[str, Tensor], motion: DenseMotion) -> Rendered:
        """Features as `SmallAppearance` returns them; the frame is (B, 3, S, S) in [0, 1]."""
        volume = sample_volume(features["volume"], motion.volume_flow)  # (B, C, D, S/8, S/8)
        x = self.body(self.enter(torch.cat([volume.flatten(1, 2), motion.hidden], 1)))  # (B, 80, S/8, S/8)

        trust = motion.occlusion[:, :1]  # (B, 1, S/4, S/4)
        skip = warp(features["quarter"], motion.flow) * trust
        x = self.to_quarter(torch.cat([upsample(x), skip, motion.hidden_fine], 1))  # (B, 40, S/4, S/4)

        full, middle = resize_flow(motion.flow, 4), resize_flow(motion.flow, 2)
        # A flow lands between pixels: bilinear sampling would blur what bicubic keeps.
        pixels = warp(features["image"], full, "bicubic")  # (B, 3, S, S)
        cover = warp(features["person"], full)  # (B, 1, S, S)
        pixels = cover * pixels + (1 - cover) * warp(features["backdrop"], resize_flow(motion.behind, 4))
        skip = warp(features["half"], middle) * upsample(trust)  # (B, 16, S/2, S/2)
        x = self.to_half(torch.cat([upsample(x), skip, F.pixel_unshuffle(pixels, 2) - 0.5], 1))  # (B, 20, S/2, S/2)

        painted = F.pixel_shuffle(self.paint(x), 2)  # (B, 4, S, S)
        matte = torch.sigmoid(painted[:, 3:]) * upsample(motion.occlusion[:, 1:], 4)
        # The painting is a correction of the warped pixels until training makes it more.
        colour = pixels + painted[:, :3] * 0.5
        frame = (matte * pixels + (1 - matte) * colour).clamp(0.0, 1.0)
        with torch.no_grad():
            flows = torch.cat([motion.flow, motion.behind], -1).permute(0, 3, 1, 2)  # (B, 4, S/4, S/4)
            hidden = warp(features["person"], motion.behind)
            layers = Layers(pixels, cover, hidden, motion.occlusion[:, 1:], flows)
        return Rendered(frame=frame, flow=full, occlusion=trust, matte=matte, layers=layers)
