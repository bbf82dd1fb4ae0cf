"""Perceptual networks: VGG16 features for the training loss, LPIPS for the metric (arXiv 1801.03924, version 0.1).

Both are frozen: their parameters take no gradient, gradients flow to the images. Weights come from the local cache
(model/perceptual/weights.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.perceptual import weights as perceptual_weights

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""ImageNet mean and deviation for inputs in [-1, 1], as published with LPIPS (2 mean - 1 and 2 sigma of [0, 1])."""

VGG_BLOCKS = (2, 2, 3, 3, 3)
VGG_RELUS = tuple(f"relu{block + 1}_{i + 1}" for block, count in enumerate(VGG_BLOCKS) for i in range(count))
FIRST_RELUS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Layers of the perceptual loss of arXiv 2011.15126 (appendix, after FOMM)."""
LPIPS_RELUS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

Weights = Mapping[str, Tensor]


class _Normalise(nn.Module):
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        # x in [0, 1] -> ((2 x - 1) - shift) / scale, folded into one multiplication and one addition.
        shift, scale = torch.tensor(SHIFT).view(1, 3, 1, 1), torch.tensor(SCALE).view(1, 3, 1, 1)
        self.register_buffer("scale", 2.0 / scale, persistent=False)
        self.register_buffer("shift", (-1.0 - shift) / scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class VggFeatures(nn.Module):
    """Feature maps of an ImageNet VGG16.

    layers: names among relu1_1 ... relu5_3, in the network's order; the network ends at the last one asked for.
    weights: tensors as `perceptual_weights.load` returns them (default: from the cache; WeightsError when missing).
    Raises ValueError for unknown layers.
    """

    def __init__(self, layers: Sequence[str] = FIRST_RELUS, weights: Weights | None = None) -> None:
        super().__init__()
        unknown = set(layers) - set(VGG_RELUS)
        if unknown or not layers:
            raise ValueError(f"layers of VGG16 are {', '.join(VGG_RELUS)}; not {sorted(unknown)}")
        weights = perceptual_weights.load() if weights is None else weights
        self.layers = tuple(layers)
        self.normalise = _Normalise()
        depth = 1 + max(VGG_RELUS.index(name) for name in layers)
        self.convolutions = nn.ModuleList(_convolution(weights, f"vgg16.conv{i}", padding=1) for i in range(depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [0, 1] -> feature maps in the network's order, (B, C, H / 2^block, W / 2^block)."""
        features: list[Tensor] = []
        x = self.normalise(x)
        for name, convolution in zip(VGG_RELUS, self.convolutions, strict=False):
            if name.endswith("_1") and name != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x))
            if name in self.layers:
                features.append(x)
        return features


class AlexNetFeatures(nn.Module):
    """The five ReLU maps of an ImageNet AlexNet; x (B, 3, H, W) in [0, 1], H and W at least 32."""

    def __init__(self, weights: Weights | None = None) -> None:
        super().__init__()
        weights = perceptual_weights.load() if weights is None else weights
        self.normalise = _Normalise()
        geometry = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))  # stride, padding
        self.convolutions = nn.ModuleList(
            _convolution(weights, f"alexnet.conv{i}", padding=padding, stride=stride)
            for i, (stride, padding) in enumerate(geometry)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> five maps with 64, 192, 384, 256 and 256 channels."""
        features: list[Tensor] = []
        x = self.normalise(x)
        for i, convolution in enumerate(self.convolutions):
            if i in (1, 2):
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(convolution(x))
            features.append(x)
        return features


class Lpips(nn.Module):
    """LPIPS distance, version 0.1 with the published linear layers. The numbers of the field use network "alex".

    Raises WeightsError when no weights are given and the cache has none.
    """

    def __init__(self, network: Literal["alex", "vgg"] = "alex", weights: Weights | None = None) -> None:
        super().__init__()
        weights = perceptual_weights.load() if weights is None else weights
        self.features: nn.Module = AlexNetFeatures(weights) if network == "alex" else VggFeatures(LPIPS_RELUS, weights)
        name = "alexnet" if network == "alex" else "vgg16"
        self.linear = nn.ParameterList(
            nn.Parameter(weights[f"{name}.lin{j}.weight"].clone(), requires_grad=False) for j in range(5)
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a, b (B, 3, H, W) in [0, 1] -> distance (B,), 0 for equal images; symmetric, differentiable in both."""
        return self.between(self.features(a), self.features(b))

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """The distance (B,) of images whose feature maps `features` gave: one image's serve for many comparisons."""
        total = a[0].new_zeros(a[0].shape[0], dtype=torch.float32)
        # One by one: where only one of the two is to be trained, the other costs no way back.
        for of_a, of_b, linear in zip(a, b, self.linear, strict=True):
            gap = _unit(of_a.float()) - _unit(of_b.float())  # the sum over channels overflows in half precision
            total = total + (gap**2 * linear).sum(1).mean((1, 2))
        return total


def _unit(features: Tensor, eps: float = 1e-10) -> Tensor:
    # linalg.vector_norm has gradient 0 where all channels are 0; sqrt(sum(x^2)) would give NaN there.
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + eps)


def _convolution(weights: Weights, name: str, *, padding: int, stride: int = 1) -> nn.Conv2d:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    out, before, kernel, _ = weight.shape
    layer = nn.Conv2d(before, out, kernel, stride=stride, padding=padding)
    layer.weight = nn.Parameter(weight.clone(memory_format=torch.channels_last), requires_grad=False)
    layer.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return layer
