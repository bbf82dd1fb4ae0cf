"""Which pixels of the source image are the person, and what may lie behind: once per source image.

A picture that is warped as one bends its background with the head. So what is behind the person is kept apart, and the
person is laid over it, cut out along the silhouette in the source image, which goes where the source's pixels go.

The network is MediaPipe's selfie segmentation (Apache License 2.0), a MobileNetV3 with a light decoder for 256 pixels;
it comes with its published weights (`model/weights/silhouette.safetensors`) and is not trained here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.grid import away_from_oval
from model.networks.small.blocks import upsample

_SIDE = 256  # pixels of the picture that the network was made for
_RIM = 3  # pixels around the silhouette that go with the person: hair is finer than the network is sure
_SOFT = (3, 5)  # pixels, sides of the squares whose means soften the edge
_SHOWS = 1 / 6  # how much of a person makes a pixel useless for what is behind


class SmallSilhouette(nn.Module):
    """Picture (B, 3, S, S) in [0, 1] -> how surely each pixel is a person, (B, 1, S, S) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Padded(3, 16, 3, 2)  # 128
        self.enter = _Inverted(16, 16, 16, 3, 2, nn.ReLU(), squeezed=8)  # 64
        self.down = nn.Sequential(  # 32
            _Inverted(16, 72, 24, 3, 2, nn.ReLU()), _Inverted(24, 88, 24, 3, 1, nn.ReLU())
        )
        self.deep = nn.Sequential(  # 16
            _Inverted(24, 96, 32, 5, 2, nn.Hardswish(), squeezed=24),
            _Inverted(32, 128, 32, 5, 1, nn.Hardswish(), squeezed=32),
            _Inverted(32, 128, 32, 5, 1, nn.Hardswish(), squeezed=32),
            _Inverted(32, 96, 32, 5, 1, nn.Hardswish(), squeezed=24),
            _Inverted(32, 96, 32, 5, 1, nn.Hardswish(), squeezed=24),
        )
        self.context, self.gate = nn.Conv2d(32, 128, 1), nn.Conv2d(32, 128, 1)
        self.up = nn.ModuleList([_Joined(128, 24), _Joined(24, 16), _Joined(16, 16)])  # 32, 64, 128
        self.last = nn.ConvTranspose2d(16, 1, 2, 2)  # 256
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, 6.0)  # without its weights all is the person: one layer

    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[-1]
        picture = _resized(image, _SIDE)
        first = F.hardswish(self.stem(picture))
        second = self.enter(first)
        third = self.down(second)
        x = self.deep(third)
        x = F.relu(self.context(x)) * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        for stage, skip in zip(self.up, (third, second, first), strict=True):
            x = stage(upsample(x), skip)
        person = torch.sigmoid(self.last(x))
        return _resized(person, size)


def _resized(picture: Tensor, side: int) -> Tensor:
    """Bilinear. One of that size stays: an exported network (`model/web_export.py`) has no antialiasing."""
    if picture.shape[-1] == side:
        return picture
    return F.interpolate(picture, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


class _Padded(nn.Conv2d):
    """A convolution whose padding is odd where its stride is 2: more of it right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        total = kernel - stride
        before = total // 2
        self._pads = (before, total - before, before, total - before)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(F.pad(x, self._pads))
        return out


class _Inverted(nn.Module):
    """Inverted residual: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride), `middle` channels between."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, kernel: int, stride: int, bend: nn.Module, squeezed: int = 0
    ) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, middle, 1)
        self.spread = _Padded(middle, middle, kernel, stride, groups=middle)
        self.attend = _Attention(middle, squeezed) if squeezed else None
        self.narrow = nn.Conv2d(middle, outputs, 1)
        self._bend = bend
        self._shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._bend(self.spread(self._bend(self.widen(x))))
        if self.attend is not None:
            y = y * self.attend(y)
        y = self.narrow(y)
        return x + y if self._shortcut else y


class _Attention(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): (B, C, H, W) -> how much each channel counts, (B, C, 1, 1)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        out: Tensor = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return out


class _Joined(nn.Module):
    """What comes from below (B, inputs, H, W) and what was there at this size, (B, outputs, H, W), become one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fit, self.attend = nn.Conv2d(inputs, outputs, 1), _Attention(outputs, outputs)
        self.mix, self.spread = nn.Conv2d(outputs, outputs, 1), _Padded(outputs, outputs, 3, 1, groups=outputs)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        x = self.fit(below)
        x = F.relu(self.mix(skip * self.attend(skip + x) + x))
        out: Tensor = x + F.relu(self.spread(x))
        return out


def oval(points: Tensor, size: int) -> Tensor:
    """Pixels (B, 1, size, size) within the upright oval around points (B, N, 2) of a face: 1, elsewhere 0.

    A drawing, or a face behind a hand, may not be taken for a person: a hole in a face would be worse than a rim.
    """
    return (away_from_oval(points, size) <= 1).to(points.dtype)[:, None]


def cut_out(image: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each pixel goes with the person, (B, 1, S, S) in [0, 1], and what may lie behind, (B, 3, S, S).

    image   (B, 3, S, S), S a power of two
    person  (B, 1, S, S) how surely each pixel is the person, in [0, 1]
    """
    person = F.max_pool2d(person.float(), 2 * _RIM + 1, 1, _RIM)
    return _softened(person), painted_over(image.float(), (person < _SHOWS).float())


def painted_over(image: Tensor, known: Tensor) -> Tensor:
    """A picture (B, 3, S, S) of S a power of two, its unknown pixels filled from the nearest known ones, smoothly.

    known   (B, 1, S, S), 0 or 1
    Pull and push (Gortler et al. 1996): averages of ever larger squares, until something is known in each.
    """
    sums, weights = [image * known], [known]
    while sums[-1].shape[-1] > 1:
        sums.append(F.avg_pool2d(sums[-1], 2))
        weights.append(F.avg_pool2d(weights[-1], 2))
    out = sums[-1] / weights[-1].clamp(min=1e-6)
    for total, weight in zip(sums[-2::-1], weights[-2::-1], strict=True):
        sure = (4 * weight).clamp(max=1.0)
        out = sure * total / weight.clamp(min=1e-6) + (1 - sure) * upsample(out)
    return out


def _softened(person: Tensor) -> Tensor:
    """(B, 1, S, S) with an edge some five pixels wide: means of means, nearly a Gaussian of 1.6 pixels."""
    for side in _SOFT:
        person = F.avg_pool2d(person, side, 1, side // 2, count_include_pad=False)
    return person
