"""Building blocks of the small profile: 2D convolutions whose batch normalisation folds away in inference."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.grid import kept, pixel_grid
from model.networks.small.volume import gather_volume


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; shape kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


def exact(device: torch.device) -> torch.autocast:
    """Float32 whatever autocast says outside: coordinates in half precision would err by tenths of a pixel."""
    return torch.autocast(device.type, enabled=False)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear by an integer factor, on the pixel-centre grid that the motion convention uses."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """The same as `upsample` of maps (B, C, H, W) of few channels, by two matrix products: there engines are faster."""
    h, w = x.shape[-2:]
    rows, columns = (_interpolation(n, factor, x.dtype, x.device) for n in (h, w))
    out: Tensor = rows @ x @ columns.mT
    return out


@kept
def _interpolation(count: int, factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix (factor count, count) that takes a row of `count` values to `factor` times as many, bilinear."""
    one = torch.eye(count, device=device, dtype=dtype)
    return F.interpolate(one[None], scale_factor=float(factor), mode="linear", align_corners=False)[0].mT


def resize_flow(flow: Tensor, factor: int) -> Tensor:
    """Flow (B, H, W, 2) at `factor` times the size.

    Displacements are enlarged, not coordinates: bilinear enlargement repeats the border, where coordinates go on.
    """
    _, h, w, _ = flow.shape
    displacement = (flow - pixel_grid(h, w, flow)).permute(0, 3, 1, 2)
    grid = pixel_grid(h * factor, w * factor, flow)
    return enlarge(displacement, factor).permute(0, 2, 3, 1) + grid


def warp(x: Tensor, flow: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Sample `x` (B, C, h, w) at source coordinates `flow` (B, H, W, 2): (B, C, H, W)."""
    return F.grid_sample(x.to(flow.dtype), flow, mode=mode, padding_mode=padding, align_corners=False)


def sample_volume(volume: Tensor, flow: Tensor) -> Tensor:
    """Sample a volume (B, C, D, h, w) at source coordinates (B, D', H, W, 3): (B, C, D', H, W), zero outside."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        # torch's own operation is faster and trains; the engine that runs a traced graph has none.
        return gather_volume(volume, flow.to(volume.dtype))
    return F.grid_sample(volume.to(flow.dtype), flow, padding_mode="zeros", align_corners=False)


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch normalisation of a network in evaluation mode into the convolution before it, in place."""
    for child in module.modules():
        if isinstance(child, ConvBlock) and isinstance(child[1], nn.BatchNorm2d):
            convolution, norm = child[0], child[1]
            assert isinstance(convolution, nn.Conv2d)
            child[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
            child[1] = nn.Identity()
        if isinstance(child, ResidualBlock) and isinstance(child.norm, nn.BatchNorm2d):
            child.second = nn.utils.fuse_conv_bn_eval(child.second, child.norm)
            child.norm = nn.Identity()  # type: ignore[assignment]
