"""What cameras and their compression do to single frames: the extractor must read the same motion from all of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EXPOSURE = 0.08  # one sigma of the logarithm of each frame's brightness
_NOISE = 0.03  # largest sigma of pixel noise
_SHARE = 0.3  # of the frames that are blurred, and of those that are noisy


def degraded(frames: Tensor, seed: int) -> Tensor:
    """Frames (B, 3, S, S) in [0, 1], each with a brightness of its own, some as from a smaller picture, some noisy."""
    generator = torch.Generator().manual_seed(seed)
    count, side = len(frames), frames.shape[-1]
    drawn = torch.rand(4, count, generator=generator).to(frames.device)
    exposure = torch.randn(count, generator=generator).to(frames.device)
    out = frames * torch.exp(_EXPOSURE * exposure)[:, None, None, None]
    blurred = (drawn[0] < _SHARE).nonzero().flatten()
    if len(blurred):
        # One size for all of them in a step: faces from a few tens of pixels to their own size.
        smaller = int(side * (0.35 + 0.5 * drawn[1, 0].item()))
        small = F.interpolate(out[blurred], size=(smaller, smaller), mode="bilinear", antialias=True)
        again = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
        out = out.index_copy(0, blurred, again)
    noisy = (drawn[2] < _SHARE).nonzero().flatten()
    if len(noisy):
        sigma = (_NOISE * drawn[3, noisy])[:, None, None, None]
        noise = torch.randn(len(noisy), *frames.shape[1:], generator=generator).to(frames.device)
        out = out.index_add(0, noisy, sigma * noise)
    return out.clamp(0, 1)
