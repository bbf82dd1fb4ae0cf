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
from model.networks.small.blocks import ConvBlock, ResidualBlock, enlarge, resize_flow, sample_volume, upsample, warp
from model.networks.small.dense_motion import DenseMotion
from model.networks.small.window import Window
from model.networks.small_config import SmallConfig


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

    def forward(self, features: dict[str, Tensor], motion: DenseMotion, window: Window | None = None) -> Rendered:
        """Features as `SmallAppearance` returns them; the frame is (B, 3, S, S) in [0, 1].

        window  where it is painted, as dense motion was told; None everywhere. Shapes below are a whole picture's.
        """
        here = _whole if window is None else window.of
        full = resize_flow(motion.flow, 4)
        # A flow lands between pixels: bilinear sampling would blur what bicubic keeps.
        pixels = warp(features["image"], full, "bicubic")  # (B, 3, S, S)
        cover = warp(features["person"], full)  # (B, 1, S, S)
        pixels = cover * pixels + (1 - cover) * warp(features["backdrop"], motion.behind(full.shape[1]))

        volume = sample_volume(features["volume"], motion.volume_flow)  # (B, C, D, S/8, S/8)
        x = self.body(self.enter(torch.cat([volume.flatten(1, 2), motion.hidden], 1)))  # (B, 80, S/8, S/8)

        fine = here(torch.cat([motion.hidden_fine, motion.occlusion, motion.flow.permute(0, 3, 1, 2)], 1))
        hidden_fine, trust, occlusion, flow = torch.split(fine, [motion.hidden_fine.shape[1], 1, 1, 2], 1)
        flow = flow.permute(0, 2, 3, 1)  # (B, S/4, S/4, 2)
        skip = warp(features["quarter"], flow) * trust
        x = self.to_quarter(torch.cat([upsample(x), skip, hidden_fine], 1))  # (B, 40, S/4, S/4)

        # In a window displacements are wrong by what is linear in the place: enlarging does not change that.
        skip = warp(features["half"], resize_flow(flow, 2)) * enlarge(trust, 2)  # (B, 16, S/2, S/2)
        moved = here(pixels)
        x = self.to_half(torch.cat([upsample(x), skip, F.pixel_unshuffle(moved, 2) - 0.5], 1))  # (B, 20, S/2, S/2)

        painted = F.pixel_shuffle(self.paint(x), 2)  # (B, 4, S, S)
        matte = torch.sigmoid(painted[:, 3:]) * enlarge(occlusion, 4)
        # The painting is a correction of the warped pixels until training makes it more.
        correction = (1 - matte) * painted[:, :3] * 0.5
        if window is not None:
            size, share = pixels.shape[-1], window.share(*correction.shape[2:])
            correction = window.placed(share * correction, size)
            matte = 1 - window.placed(share * (1 - matte), size)
        frame = (pixels + correction).clamp(0.0, 1.0)
        with torch.no_grad():
            behind = motion.behind(motion.flow.shape[1])  # (B, S/4, S/4, 2)
            flows = torch.cat([motion.flow, behind], -1).permute(0, 3, 1, 2)  # (B, 4, S/4, S/4)
            hidden = warp(features["person"], behind)
            layers = Layers(pixels, cover, hidden, motion.occlusion[:, 1:], flows)
        return Rendered(frame=frame, flow=full, occlusion=motion.occlusion[:, :1], matte=matte, layers=layers)


def _whole(maps: Tensor) -> Tensor:
    """Maps of whole pictures as they are."""
    return maps
