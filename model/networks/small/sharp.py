"""Pictures at twice the networks' size: the low band is rendered by them, the high band is the source image's own.

What 2S pixels of the source image hold and S pixels cannot is one plane of luma, made once:

    detail = luma(source - enlarged(reduced(source)))

In each frame it is moved by the dense motion that the networks found, and added:

    frame(2S) = enlarged(frame(S)) + w moved(detail),    w = exp(-|frame(S) - moved pixels| / 0.05) k o

Where the generator has painted over the moved pixels (closed lids, an opened mouth) w is nearly nothing: there the
source's detail would be a ghost. k falls where the flow stretches or squeezes the surface, o where it is not trusted.
The background's detail moves as the background does, and only what the person did not hide in the source is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import pixel_grid
from model.networks.rendered import Layers
from model.networks.small.blocks import exact, upsample, warp
from model.networks.small_config import SHARP_FACTOR

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as the encoder's colours
_GAIN = 1.1  # makes up for what bilinear sampling takes; bicubic is as good, and takes 2 ms longer
_PAINTED = 0.05  # mean difference of the colours at which the painted share of a pixel leaves a third of the detail


@dataclass(frozen=True)
class SharpSource:
    """Source images at the full size; batch shape B."""

    image: Tensor  # (B, 3, 2S, 2S) in [0, 1]
    detail: Tensor  # (B, 1, 2S, 2S) luma

    @staticmethod
    def of(image: Tensor) -> SharpSource:
        """From pictures (B, 3, 2S, 2S) in [0, 1]."""
        return SharpSource(image, _detail(image))

    @staticmethod
    def enlarged(image: Tensor) -> SharpSource:
        """Of pictures (B, 3, S, S) in [0, 1], which hold no more than the networks see."""
        large = _enlarge(image).clamp(0, 1)
        return SharpSource(large, torch.zeros_like(large[:, :1]))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(t.numel() * t.element_size() for t in (self.image, self.detail))


def reduced(image: Tensor) -> Tensor:
    """A picture uint8 (..., 3, 2S, 2S) as the networks take it, uint8 (..., 3, S, S)."""
    mean = F.avg_pool2d(image.float().reshape(-1, *image.shape[-3:]), SHARP_FACTOR)
    return (mean + 0.5).to(torch.uint8).reshape(*image.shape[:-2], *mean.shape[-2:])


def enlarged(picture: Tensor) -> Tensor:
    """A picture uint8 (B, 3, S, S) at twice the size, bicubic."""
    if picture.device.type == "cpu":  # bytes are enlarged in a quarter of the time of numbers
        return _enlarge(picture)
    return (_enlarge(picture.float()) + 0.5).clamp(0, 255).to(torch.uint8)


def moved_detail(frame: Tensor, layers: Layers, source: SharpSource) -> Tensor:
    """Detail (B, 1, 2S, 2S) of frames (B, 3, S, S) as they were rendered, as much of it as is to be shown."""
    with exact(frame.device):
        side = source.detail.shape[-1]
        person = upsample(layers.person.float(), SHARP_FACTOR) > 0.5  # (B, 1, 2S, 2S)
        flow = _flow(layers.flow.float(), person, side)
        return warp(source.detail, flow) * upsample(detail_weight(frame, layers).float(), SHARP_FACTOR)


def with_detail(picture: Tensor, detail: Tensor) -> Tensor:
    """Frames uint8 (B, 3, S, S) enlarged, and their detail: uint8 (B, 3, 2S, 2S)."""
    sharp = enlarged(picture).to(torch.int16) + (detail * 255).round().to(torch.int16)
    return sharp.clamp_(0, 255).to(torch.uint8)


def detail_weight(frame: Tensor, layers: Layers) -> Tensor:
    """How much of the detail is shown, (B, 1, S, S) in [0, 1]."""
    factor = frame.shape[-1] // layers.flow.shape[-1]
    kept = upsample(layers.trust * _rigid(layers.flow[:, :2]), factor)
    behind = (1 - layers.person) * (1 - upsample(layers.hidden, factor))
    share = torch.where(layers.person > 0.5, layers.person * kept, behind)
    painted = (frame - layers.pixels).abs().mean(1, keepdim=True)
    return share * torch.exp(painted / -_PAINTED)


def _flow(flow: Tensor, person: Tensor, side: int) -> Tensor:
    """Source coordinates (B, side, side, 2): the person's where there is one, (B, 1, side, side), else the other."""
    coarse = flow.shape[-1]
    grid = pixel_grid(coarse, coarse, flow).permute(2, 0, 1)
    moved = upsample(flow - torch.cat([grid, grid]), side // coarse)  # (B, 4, side, side)
    chosen = torch.where(person, moved[:, :2], moved[:, 2:])
    return chosen.permute(0, 2, 3, 1) + pixel_grid(side, side, flow)


def _detail(image: Tensor) -> Tensor:
    """Luma (B, 1, 2S, 2S) that a picture (B, 3, 2S, 2S) has beyond its reduction."""
    luma = (image * image.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    return _GAIN * (luma - _enlarge(F.avg_pool2d(luma, SHARP_FACTOR)))


def _enlarge(picture: Tensor) -> Tensor:
    # With `antialias`, which changes nothing in an enlargement but takes the faster code.
    return F.interpolate(picture, scale_factor=float(SHARP_FACTOR), mode="bicubic", antialias=True)


def _rigid(flow: Tensor) -> Tensor:
    """How little a flow (B, 2, H, W) stretches or squeezes the surface, (B, 1, H, W): 1 where it only moves and turns.

    exp(-(log^2 of the one singular value + log^2 of the other)) of its derivative.
    """
    side = flow.shape[-1]
    padded = F.pad(flow * (side / 4), (1, 1, 1, 1), mode="replicate")  # central differences over two cells
    ax, ay = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]).unbind(1)  # (B, H, W) each
    bx, by = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]).unbind(1)
    conformal = ((ax + by).square() + (ay - bx).square()).sqrt() / 2
    sheared = ((ax - by).square() + (ay + bx).square()).sqrt() / 2
    high, low = conformal + sheared, (conformal - sheared).abs()
    logs = [torch.log(value.clamp(min=0.01)).square() for value in (high, low)]
    return torch.exp(-logs[0] - logs[1])[:, None]
