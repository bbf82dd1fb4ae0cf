"""L, H and Delta: canonical keypoints of a source image; head pose and expression of any frame (section 3.1 and 3.2).

Both read the whole picture with the same small trunk and regress coordinates from its 8x8 map, as landmark
regressors do; positions are learned relative to a mean head, so that an untrained network already shows one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion
from model.networks.small.blocks import ConvBlock, ResidualBlock, exact
from model.profiles.small import SmallConfig


class Trunk(nn.Module):
    """(B, 3, 256, 256) -> (B, 256) description of the head."""

    def __init__(self, widths: tuple[int, ...], features: int = 256) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.body = nn.Sequential(
            ConvBlock(3, a, 5, 2),  # (B, 16, 128, 128)
            ConvBlock(a, b, 3, 2),  # (B, 32, 64, 64)
            ConvBlock(b, c, 3, 2),  # (B, 48, 32, 32)
            ResidualBlock(c),
            ConvBlock(c, d, 3, 2),  # (B, 96, 16, 16)
            ConvBlock(d, d),
            ConvBlock(d, e, 3, 2),  # (B, 128, 8, 8)
            ConvBlock(e, 64, 1),  # (B, 64, 8, 8)
        )
        self.flat = nn.Sequential(nn.Linear(64 * 8 * 8, features), nn.ReLU(inplace=True))

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.flat(self.body(image * 2 - 1).flatten(1))
        return out


class SmallCanonical(nn.Module):
    """L: canonical keypoints of the person in the source image."""

    mean: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.extractor)
        self.points = nn.Linear(256, config.keypoints * 3)
        nn.init.normal_(self.points.weight, std=1e-3)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean", torch.zeros(config.keypoints, 3))

    def forward(self, image: Tensor) -> CanonicalKeypoints:
        """(B, 3, S, S) -> points (B, K, 3)."""
        features = self.trunk(image)
        with exact(image.device):
            offset = self.points(features.float()).unflatten(-1, (-1, 3))
            return CanonicalKeypoints(self.mean + 0.2 * offset)


class SmallMotion(nn.Module):
    """H and Delta: head pose and expression deformation of a frame; the part that runs on the sender's laptop."""

    pose_mean: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.extractor)
        self.pose = nn.Linear(256, 6)  # yaw, pitch, roll, log scale, t_x, t_y
        # 48 numbers behind K x 3: faces move together, and the codec's transform finds the same few directions.
        deformation = nn.Linear(48, config.keypoints * 3)
        self.expression = nn.Sequential(nn.Linear(256, 48), deformation)
        for layer in (self.pose, deformation):
            nn.init.normal_(layer.weight, std=1e-2)
            nn.init.zeros_(layer.bias)
        self.register_buffer("pose_mean", torch.zeros(6))

    def forward(self, image: Tensor) -> Motion:
        """(B, 3, S, S) -> motion of batch shape (B,); t_z is 0, since an orthographic camera cannot see it."""
        features = self.trunk(image)
        with exact(image.device):
            pose = self.pose_mean + self.pose(features.float())
            expression = 0.1 * self.expression(features.float()).unflatten(-1, (-1, 3))
        degrees = pose[:, :3] * 30.0
        translation = torch.cat([pose[:, 4:6], torch.zeros_like(pose[:, :1])], 1)
        return Motion(degrees[:, 0], degrees[:, 1], degrees[:, 2], translation, torch.exp(pose[:, 3]), expression)
