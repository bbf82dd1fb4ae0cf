"""L, H and Delta: canonical keypoints of a source image; head pose and expression of any frame (section 3.1 and 3.2).

Both read the whole picture with the same small trunk and regress coordinates from its 8x8 map, as landmark
regressors do; positions are learned relative to a mean head, so that an untrained network already shows one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, rotation_matrix
from model.networks.grid import pixel_grid
from model.networks.small.blocks import ConvBlock, ResidualBlock, exact, warp
from model.networks.small_config import BODY, SmallConfig


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """Fully connected layer with ReLU: (B, inputs) -> (B, outputs).

    Its thousands of inputs are all positive, so one common step of their weights could switch every unit off for good;
    the normalisation keeps them alive.
    """
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


class Trunk(nn.Module):
    """(B, 3, 256, 256) -> (B, 256) description of the head, and the map (B, 4096) that it is read from."""

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
        self.flat = dense(64 * 8 * 8, features)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(image * 2 - 1).flatten(1)
        return self.flat(seen), seen


class SmallCanonical(nn.Module):
    """L: canonical keypoints of the person in the source image.

    Those of the body lie at the origin (`model.keypoint_layout`): `SmallMotion` says where they are.
    """

    mean: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.extractor)
        self.layout = config.layout
        head = config.layout.head_count
        self.points = nn.Linear(256, head * 3)
        nn.init.normal_(self.points.weight, std=1e-3)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean", torch.zeros(head, 3))

    def forward(self, image: Tensor) -> CanonicalKeypoints:
        """(B, 3, S, S) -> points (B, K, 3)."""
        features, _ = self.trunk(image)
        with exact(image.device):
            points = self.mean + 0.2 * self.points(features.float()).unflatten(-1, (-1, 3))
            return CanonicalKeypoints(F.pad(points, (0, 0, 0, self.layout.body_count)))


class FaceDetail(nn.Module):
    """(B, 3, S, S) and where the face is -> (B, 192) description of eyes and mouth.

    Lids and lips span a few pixels of the whole picture, where pose outshouts them; in a crop that follows the face
    they stay in place and only change.
    """

    SIDE = 72  # pixels of the crop
    CENTRE = (0.0, 0.30, 0.0)  # its middle in face units, below the nose
    HALF = 0.50  # half its side in face units: brows to chin

    def __init__(self, features: int = 192) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(3, 12, 3, 2),  # (B, 12, 36, 36)
            ConvBlock(12, 24, 3, 2),  # (B, 24, 18, 18)
            ConvBlock(24, 48),
            ConvBlock(48, 64, 3, 2),  # (B, 64, 9, 9)
            ConvBlock(64, 64),
            ConvBlock(64, 96, 3, 2),  # (B, 96, 5, 5)
        )
        self.flat = dense(96 * 5 * 5, features)

    def forward(self, image: Tensor, pose: Motion) -> Tensor:
        grid = self.grid(pose)  # (B, 72, 72, 2)
        crop = warp(image, grid)
        out: Tensor = self.flat(self.body(crop * 2 - 1).flatten(1))
        return out

    def grid(self, pose: Motion) -> Tensor:
        """Where each pixel of the crop lies in the picture: turned and sized with the head, no gradient."""
        rotation = rotation_matrix(pose.yaw, pose.pitch, pose.roll).detach()  # (B, 3, 3)
        scale, translation = pose.scale.detach(), pose.translation.detach()
        flat = pixel_grid(self.SIDE, self.SIDE, scale) * self.HALF  # (72, 72, 2)
        plane = torch.cat([flat, torch.zeros_like(flat[..., :1])], -1).reshape(-1, 3) + torch.tensor(
            self.CENTRE, device=scale.device, dtype=scale.dtype
        )
        points = scale[:, None, None] * (plane @ rotation.mT) + translation[:, None]  # (B, 72 * 72, 3)
        grid: Tensor = points[..., :2].reshape(-1, self.SIDE, self.SIDE, 2)
        return grid


class SmallMotion(nn.Module):
    """H and Delta: head pose and expression deformation of a frame; the part that runs on the sender's laptop."""

    pose_mean: Tensor
    body_mean: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config.extractor)
        self.pose = nn.Linear(256, 6)  # yaw, pitch, roll, log scale, t_x, t_y
        self.closer_look = FaceDetail()  # the attribute is a name in weights files
        self.correction = nn.Linear(256 + 192, 6)  # of the pose, from the crop of the face
        # 48 numbers behind K x 3: faces move together, and the codec's transform finds the same few directions.
        self.bottleneck = nn.Linear(256 + 192, 48)
        self.deformation = nn.Linear(48, config.layout.head_count * 3)
        self.body = nn.Sequential(dense(64 * 8 * 8, 64), nn.Linear(64, config.layout.body_count * 2))
        nn.init.normal_(self.pose.weight, std=1e-2)
        nn.init.normal_(self.deformation.weight, std=3e-2)
        nn.init.zeros_(self.pose.bias)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        nn.init.zeros_(self.deformation.bias)
        self.register_buffer("pose_mean", torch.zeros(6))
        self.register_buffer("body_mean", torch.tensor(BODY), persistent=False)

    def forward(self, image: Tensor) -> Motion:
        """(B, 3, S, S) -> motion of batch shape (B,); t_z is 0, since an orthographic camera cannot see it."""
        features, picture = self.trunk(image)
        with exact(image.device):
            pose = self.pose_mean + self.pose(features.float())
        detail = self.closer_look(image, _rigid(pose))
        with exact(image.device):
            seen = torch.cat([features, detail], 1).float()
            # In the crop a misplaced head is plain to see: the second reading is finer than the first.
            pose = pose + 0.1 * self.correction(seen)
            expression = 0.1 * self.deformation(self.bottleneck(seen)).unflatten(-1, (-1, 3))
            rigid = _rigid(pose)
            body = self.body_mean + 0.2 * self.body(picture.float()).unflatten(-1, (-1, 2))  # (B, N, 2) in the picture
            placed = (body - rigid.translation[:, None, :2]) / rigid.scale[:, None, None]
            expression = torch.cat([expression, F.pad(placed, (0, 1))], 1)
        return replace(rigid, expression=expression)


def _rigid(pose: Tensor) -> Motion:
    """Motion without expression of (B, 6) yaw, pitch, roll in units of 30 degrees, log scale, t_x, t_y."""
    degrees = pose[:, :3] * 30.0
    translation = torch.cat([pose[:, 4:6], torch.zeros_like(pose[:, :1])], 1)
    none = pose.new_zeros(len(pose), 1, 3)
    return Motion(degrees[:, 0], degrees[:, 1], degrees[:, 2], translation, torch.exp(pose[:, 3]), none)
