"""H and Delta, head pose and expression: any frame to the motion that crosses the wire.

arXiv 2011.15126, section 3.1 and figure 11: one ResNet-50-like network with a head for each quantity.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import Motion
from model.networks.blocks import ResBottleneck, SameBlock

BIN_DEGREES = 3.0
"""Width of an angle bin: 66 bins of 3 degrees cover -99 to 99 degrees."""


@dataclass(frozen=True)
class HeadMotionConfig:
    """Widths of H and Delta; the defaults are the published ones."""

    image_size: int = 256  # frames are reduced to this before the network sees them
    stem: int = 64  # channels of the first 7x7 convolution
    widths: tuple[int, ...] = (256, 512, 1024, 2048)  # of the four stages; each after the first halves the image
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # bottleneck blocks of each stage
    bins: int = 66  # per angle
    scale: bool = False  # learn the size of the head too; the paper has none and leaves it to expression


class HeadMotionEstimator(nn.Module):
    """The angles' signs are those of `model.motion`: the head pose loss compares them with a teacher that uses them."""

    def __init__(self, config: HeadMotionConfig, keypoints: int) -> None:
        super().__init__()
        self.config, self.keypoints = config, keypoints
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.stem, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(config.stem),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    SameBlock(2, inputs, outputs, kernel=1),
                    ResBottleneck(outputs, stride=1 if stage == 0 else 2),
                    *(ResBottleneck(outputs) for _ in range(blocks - 1)),
                )
                for stage, ((inputs, outputs), blocks) in enumerate(
                    zip(pairwise((config.stem, *config.widths)), config.blocks, strict=True)
                )
            )
        )
        width = config.widths[-1]
        self.yaw = nn.Linear(width, config.bins)
        self.pitch = nn.Linear(width, config.bins)
        self.roll = nn.Linear(width, config.bins)
        self.translation = nn.Linear(width, 3)
        self.expression = nn.Linear(width, 3 * keypoints)
        self.scale = nn.Linear(width, 1) if config.scale else None

    def forward(self, frame: Tensor) -> Motion:
        """Frame (B, 3, S, S) in [0, 1] to a `Motion` of batch B, angles in +-97.5 degrees, scale 1 without its head."""
        size = (self.config.image_size, self.config.image_size)
        if frame.shape[-2:] != size:
            frame = F.interpolate(frame, size, mode="bilinear", align_corners=False, antialias=True)
        x = self.stem(frame)  # (B, 64, 64, 64)
        x = self.stages(x)  # (B, 2048, 8, 8)
        x = x.mean((2, 3))  # (B, 2048)
        scale = torch.ones_like(x[:, 0]) if self.scale is None else self.scale(x).squeeze(-1).exp()  # (B,)
        return Motion(
            yaw=expected_degrees(self.yaw(x)),  # (B,)
            pitch=expected_degrees(self.pitch(x)),  # (B,)
            roll=expected_degrees(self.roll(x)),  # (B,)
            translation=self.translation(x),  # (B, 3)
            scale=scale,
            expression=self.expression(x).unflatten(-1, (self.keypoints, 3)),  # (B, K, 3)
        )


def expected_degrees(scores: Tensor) -> Tensor:
    """Mean of the bins' centres under softmax(scores); (B, bins) -> (B,): 3 E[bin] - 97.5 for 66 bins.

    A product and a sum instead of a matrix product, which autocast would run in half precision: 0.1 degrees of jitter.
    """
    bins = scores.shape[-1]
    index = torch.arange(bins, device=scores.device, dtype=scores.dtype)
    return BIN_DEGREES * ((torch.softmax(scores, -1) * index).sum(-1) - (bins - 1) / 2)
