"""D, the patch discriminator: is each patch of a frame real? Needed in training only.

arXiv 2011.15126, appendix: patch discriminators as in pix2pixHD (arXiv 1711.11585), one scale for 256 px and two for
512 px, trained with the hinge loss; here with spectral normalisation (arXiv 1802.05957).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Widths of D."""

    widths: tuple[int, ...] = (64, 128, 256, 512)  # of the 4x4 convolutions; all but the last halve the picture
    scales: int = 1  # discriminators, each on half the size of the one before
    leak: float = 0.2  # slope of the leaky ReLU


@dataclass(frozen=True)
class Judgement:
    """What one scale says about a batch of frames."""

    scores: Tensor  # (B, 1, h, w) per patch; above 0 = real
    features: tuple[Tensor, ...]  # activations of each layer, for feature matching


class PatchDiscriminator(nn.Module):
    """Four 4x4 convolutions and a score for each 70x70 patch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        last = len(config.widths) - 1
        for index, (inputs, outputs) in enumerate(pairwise((3, *config.widths))):
            first = index == 0  # the first layer sees the colours as they are
            convolution = nn.Conv2d(inputs, outputs, 4, stride=1 if index == last else 2, padding=1, bias=first)
            parts: list[nn.Module] = [spectral_norm(convolution)]
            if not first:
                parts.append(nn.InstanceNorm2d(outputs, affine=True))
            self.layers.append(nn.Sequential(*parts, nn.LeakyReLU(config.leak)))
        self.score = spectral_norm(nn.Conv2d(config.widths[-1], 1, 4, padding=1))

    def forward(self, frame: Tensor) -> Judgement:
        """Frame (B, 3, S, S) in [0, 1]; scores (B, 1, S / 8 - 2, S / 8 - 2) with the published widths."""
        x = 2 * frame - 1  # (B, 3, S, S)
        features = []
        for layer in self.layers:
            x = layer(x)  # (B, 64, S/2, S/2), (B, 128, S/4, S/4), (B, 256, S/8, S/8), (B, 512, S/8 - 1, S/8 - 1)
            features.append(x)
        return Judgement(self.score(x), tuple(features))


class Discriminator(nn.Module):
    """One patch discriminator per scale."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(config) for _ in range(config.scales))

    def forward(self, frame: Tensor) -> list[Judgement]:
        """Frame (B, 3, S, S) in [0, 1] to one `Judgement` per scale, the full size first."""
        judgements = []
        for index, scale in enumerate(self.scales):
            judgements.append(scale(frame if index == 0 else F.avg_pool2d(frame, 2**index)))
        return judgements
