"""Building blocks of the paper's networks (arXiv 2011.15126, figure 10), in two and in three dimensions.

In three dimensions only height and width are pooled and enlarged: the depth of the volume stays as it is.
Convolutions that a batch normalisation follows have no bias, since the normalisation would take it away.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Dimensions = Literal[2, 3]


def convolution(
    dimensions: Dimensions, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the spatial size at stride 1; `kernel` is odd."""
    make = nn.Conv2d if dimensions == 2 else nn.Conv3d
    return make(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)


def normalisation(dimensions: Dimensions, channels: int) -> nn.BatchNorm2d | nn.BatchNorm3d:
    """Batch normalisation; the trainer converts it to its synchronised form on several GPUs."""
    return nn.BatchNorm2d(channels) if dimensions == 2 else nn.BatchNorm3d(channels)


class SameBlock(nn.Sequential):
    """Convolution, normalisation, ReLU or leaky ReLU; (B, inputs, ...) -> (B, outputs, ...), same spatial size."""

    def __init__(self, dimensions: Dimensions, inputs: int, outputs: int, kernel: int = 3, leak: float = 0.0) -> None:
        activation = nn.LeakyReLU(leak) if leak else nn.ReLU()
        super().__init__(
            convolution(dimensions, inputs, outputs, kernel), normalisation(dimensions, outputs), activation
        )


class DownBlock(nn.Sequential):
    """Figure 10, DownBlock2D/3D: a `SameBlock`, then mean pooling that halves height and width."""

    def __init__(self, dimensions: Dimensions, inputs: int, outputs: int) -> None:
        pool = nn.AvgPool2d(2) if dimensions == 2 else nn.AvgPool3d((1, 2, 2))
        super().__init__(SameBlock(dimensions, inputs, outputs), pool)


class UpBlock(nn.Sequential):
    """Figure 10, UpBlock2D/3D: height and width doubled by repetition, then a `SameBlock`."""

    def __init__(self, dimensions: Dimensions, inputs: int, outputs: int) -> None:
        scale = (2.0, 2.0) if dimensions == 2 else (1.0, 2.0, 2.0)
        super().__init__(nn.Upsample(scale_factor=scale, mode="nearest"), SameBlock(dimensions, inputs, outputs))


class ResBlock(nn.Module):
    """Figure 10, ResBlock2D/3D: x + conv(relu(norm(conv(relu(norm(x)))))); shape kept."""

    def __init__(self, dimensions: Dimensions, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            normalisation(dimensions, channels),
            nn.ReLU(),
            convolution(dimensions, channels, channels),
            normalisation(dimensions, channels),
            nn.ReLU(),
            convolution(dimensions, channels, channels, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        y: Tensor = self.residual(x)
        return x + y


class ResBottleneck(nn.Module):
    """Figure 10, ResBottleneck block: 1x1 to a quarter of the width, 3x3, 1x1 back, added to the (strided) input."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        narrow = channels // 4
        self.residual = nn.Sequential(
            SameBlock(2, channels, narrow, kernel=1),
            convolution(2, narrow, narrow, stride=stride),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            convolution(2, narrow, channels, kernel=1),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                convolution(2, channels, channels, kernel=1, stride=stride), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        return torch.relu(self.shortcut(x) + self.residual(x))


class Hourglass3d(nn.Module):
    """U-Net of 3D blocks whose skips are joined after each enlargement, the input itself last (figure 11, M)."""

    def __init__(self, inputs: int, widths: tuple[int, ...], outputs: int) -> None:
        """`widths` are those of the down blocks, e.g. 64 to 1024; the up blocks run 512 to 64, then `outputs`."""
        super().__init__()
        self.down = nn.ModuleList(DownBlock(3, a, b) for a, b in pairwise((inputs, *widths)))
        skips = (inputs, *widths[:-1])  # in the order of the down path
        ups = (outputs, *widths[:-1])
        self.up = nn.ModuleList()
        incoming = widths[-1]
        for skip, up in zip(reversed(skips), reversed(ups), strict=True):
            self.up.append(UpBlock(3, incoming, up))
            incoming = up + skip
        self.channels = incoming  # outputs + inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, D, H, W) -> (B, outputs + inputs, D, H, W); H and W are multiples of 2^len(widths)."""
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)  # (B, widths[i], D, H / 2^(i+1), W / 2^(i+1))
        for block in self.up:
            x = torch.cat([block(x), skips.pop()], 1)
        return x
