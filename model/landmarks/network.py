"""478 landmarks of the face that fills a picture of 192 pixels: MediaPipe's face mesh with attention (Grishchenko et
al., arXiv 2006.10962), with its published weights unchanged.

A trunk of depthwise blocks gives a coarse mesh of 468 points. Lips and eyes are cut out of an early feature map along
that mesh, upright and stretched, and read once more; the irises are found in the crops of the eyes. The finer
points take the place of the mesh's, whose depth stays.

All operators are within ONNX opset 19; the crops are 4-D grid samplings.
"""

from __future__ import annotations

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.landmarks.indices import (
    EYE_RIM,
    LEFT_EYE,
    LEFT_EYE_CORNERS,
    LIPS,
    MOUTH_CORNERS,
    RIGHT_EYE,
    RIGHT_EYE_CORNERS,
)

SIDE = 192
"""Pixels of the picture that the network takes."""

POINTS = 478
"""Landmarks: 468 of the mesh, five of each iris (centre, right, top, left, bottom)."""

_MESH, _IRIS = 468, 5
_FEATURES = 48  # side of the feature map that lips and eyes are cut out of
_CROP = 16  # side of such a crop
_AROUND = 1.5  # sides of the crop in sides of its points' box


class LandmarkNetwork(nn.Module):
    """Picture (B, 3, 192, 192) in [0, 1] -> (B, 1435): confidence in [0, 1] that it shows a face, then 478 landmarks
    x, y, z in pixels of the picture; z grows away from the viewer. `split` takes them apart.

    One tensor, since a compiled graph (`model.graphs`) has one result.
    """

    _order: Tensor
    _lips: Tensor
    _left: Tensor
    _right: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(PaddedConv(3, 16, 3, 2), nn.PReLU(16))  # 96
        self.early = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 32, 2))  # 48
        self.deep = nn.Sequential(
            *(Block(32, 32), Block(32, 32), Block(32, 64, 2)),  # 24
            *(Block(64, 64), Block(64, 64), Block(64, 128, 2)),  # 12
            *(Block(128, 128), Block(128, 128), Block(128, 128, 2)),  # 6
            *(Block(128, 128), Block(128, 128), Block(128, 128, 2)),  # 3
            *(Block(128, 128), Block(128, 128)),
            *(nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32)),
        )
        self.mesh, self.flag = nn.Conv2d(32, 3 * _MESH, 3), nn.Conv2d(32, 1, 3)
        self.crops = nn.ModuleDict({"lips": _Crop(), "left": _Crop(), "right": _Crop()})
        self.heads = nn.ModuleDict(
            {
                "lips": _Head(len(LIPS)),
                "left_eye": _Head(len(LEFT_EYE)),
                "left_iris": _Head(_IRIS),
                "right_eye": _Head(len(RIGHT_EYE)),
                "right_iris": _Head(_IRIS),
            }
        )
        self.register_buffer("_order", torch.tensor(_merged()), persistent=False)
        for name, points in (("lips", LIPS), ("left", LEFT_EYE), ("right", RIGHT_EYE)):
            self.register_buffer(f"_{name}", torch.tensor(points), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        features = self.early(self.stem(picture))
        deep = self.deep(features)
        mesh = self.mesh(deep).reshape(-1, _MESH, 3)
        confidence = torch.sigmoid(self.flag(deep)).flatten(1)

        lips, to_lips = self._cut(features, mesh, "lips", MOUTH_CORNERS)
        left, to_left = self._cut(features, mesh, "left", LEFT_EYE_CORNERS)
        right, to_right = self._cut(features, mesh, "right", RIGHT_EYE_CORNERS)
        refined = [
            *(mesh[..., :2], _moved(self.heads["lips"](lips), to_lips)),
            *(_moved(self.heads[name](left), to_left) for name in ("left_eye", "left_iris")),
            *(_moved(self.heads[name](right), to_right) for name in ("right_eye", "right_iris")),
        ]
        flat = torch.cat(refined, 1).index_select(1, self._order)  # (B, 478, 2)
        irises = [
            mesh[..., 2:].index_select(1, eye[:EYE_RIM]).mean(1, keepdim=True).expand(-1, _IRIS, -1)
            for eye in (self._left, self._right)
        ]
        depth = torch.cat([mesh[..., 2:], *irises], 1)
        return torch.cat([confidence, torch.cat([flat, depth], -1).flatten(1)], 1)

    def layers(self) -> list[tuple[str, nn.Module]]:
        """Convolutions and PReLUs with their names, in the order of the published file: the branches go side by side,
        layer by layer.
        """
        trunk = [_layers(getattr(self, name), name) for name in ("stem", "early", "deep", "mesh")]
        sides = [
            chain.from_iterable(zip(*(_layers(m, f"{part}.{name}") for name, m in modules.items()), strict=True))
            for part, modules in (("crops", self.crops), ("heads", self.heads))
        ]
        return [*chain.from_iterable(trunk), *chain.from_iterable(sides), *_layers(self.flag, "flag")]

    def _cut(self, features: Tensor, mesh: Tensor, name: str, corners: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The branch's features of its crop, (B, 128, 4, 4), and the crop's matrix."""
        points = mesh[..., :2] * (_FEATURES / SIDE)
        matrix = crop_matrix(
            points.index_select(1, getattr(self, f"_{name}")), points[:, corners[0]], points[:, corners[1]]
        )
        return self.crops[name](sample_crop(features, matrix)), matrix


def split(output: Tensor) -> tuple[Tensor, Tensor]:
    """The network's (B, 1435) as confidence (B,) and landmarks (B, 478, 3)."""
    return output[:, 0], output[:, 1:].reshape(-1, POINTS, 3)


def crop_matrix(points: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The crop around points that lies along a line: (B, 2, 3), which takes the crop's coordinates in [0, 16] to those
    of the points.

    points          (B, N, 2)
    first, second   (B, 2) ends of the line, which is horizontal in the crop
    The crop is one and a half times the points' box, its two sides stretched apart.
    """
    along = second - first
    along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    cosine, sine = along[:, :1], along[:, 1:]
    x, y = points[..., 0], points[..., 1]
    upright = torch.stack([cosine * x + sine * y, cosine * y - sine * x], -1)  # (B, N, 2)
    least, most = upright.amin(1), upright.amax(1)
    centre, half = (least + most) / 2, (most - least) * (_AROUND / 2)
    step = half * (2 / _CROP)
    # Of the crop's middle (8, 8), and of a step along each of its sides.
    middle = torch.cat(
        [cosine * centre[:, :1] - sine * centre[:, 1:], sine * centre[:, :1] + cosine * centre[:, 1:]], 1
    )
    right = along * step[:, :1]
    down = torch.cat([-sine, cosine], 1) * step[:, 1:]
    return torch.stack([right, down, middle - (right + down) * (_CROP / 2)], -1)


def sample_crop(features: Tensor, matrix: Tensor) -> Tensor:
    """(B, C, 48, 48) at the places of the crop's cells, (B, C, 16, 16); zero beyond the outermost centres of cells.

    matrix   (B, 2, 3), as `crop_matrix` gives it, in units of cells of the feature map
    """
    axis = torch.arange(_CROP, dtype=matrix.dtype, device=matrix.device) + 0.5
    x, y = axis[None, None, :], axis[None, :, None]
    places = [
        matrix[:, i, 0, None, None] * x + matrix[:, i, 1, None, None] * y + matrix[:, i, 2, None, None] - 0.5
        for i in range(2)
    ]
    place = torch.stack(places, -1)  # (B, 16, 16, 2), centres of cells at whole numbers
    last = _FEATURES - 1
    inside = ((place >= 0) & (place <= last)).all(-1)[:, None]
    sampled = F.grid_sample(features, place * (2 / last) - 1, mode="bilinear", align_corners=True)
    return sampled * inside.to(sampled.dtype)


def _moved(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (B, N, 2) of a crop, in quarters of its cells, as pixels of the picture, (B, N, 2)."""
    x, y = points[..., :1], points[..., 1:]
    scale = SIDE / _FEATURES
    right, down, corner = (matrix[:, None, :, i] for i in range(3))  # (B, 1, 2)
    return x * right + y * down + scale * corner


def _merged() -> list[int]:
    """Where each of the 478 landmarks stands among mesh, lips, left eye, left iris, right eye and right iris."""
    order = list(range(_MESH))
    count = _MESH
    irises: list[int] = []
    for mapped in (LIPS, LEFT_EYE, None, RIGHT_EYE, None):
        if mapped is None:
            irises += range(count, count + _IRIS)
            count += _IRIS
        else:
            for position, index in enumerate(mapped):
                order[index] = count + position
            count += len(mapped)
    return order + irises


def _layers(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    found = module.named_modules(prefix=name)
    return [(n, m) for n, m in found if isinstance(m, nn.Conv2d | nn.PReLU)]


class PaddedConv(nn.Conv2d):
    """A convolution whose padding is odd where its stride is 2: more of it right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = kernel - stride
        super().__init__(inputs, outputs, kernel, stride, 0 if total % 2 else total // 2, groups=groups)
        before = total // 2
        self._pads = (before, total - before, before, total - before) if total % 2 else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x if self._pads is None else F.pad(x, self._pads))
        return out


class Block(nn.Module):
    """Residual block, depthwise: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride).

    The shortcut is pooled where the stride is 2, and filled up with zeros where there are more outputs than inputs.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, bend: nn.Module | None = None) -> None:
        """`bend`: the activation; by default a PReLU."""
        super().__init__()
        self.spread = PaddedConv(inputs, inputs, 3, stride, groups=inputs)
        self.mix = nn.Conv2d(inputs, outputs, 1)
        self.bend = nn.PReLU(outputs) if bend is None else bend
        self._stride, self._more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.spread(x))
        if self._stride > 1:
            x = F.max_pool2d(x, self._stride)
        if self._more:
            x = F.pad(x, (0, 0, 0, 0, 0, self._more))
        out: Tensor = self.bend(x + y)
        return out


class _Crop(nn.Sequential):
    """A crop's features: (B, 32, 16, 16) -> (B, 128, 4, 4)."""

    def __init__(self) -> None:
        super().__init__(
            *(Block(32, 32), Block(32, 32), Block(32, 64, 2)),
            *(Block(64, 64), Block(64, 64), Block(64, 128, 2)),
        )


class _Head(nn.Module):
    """Points of a crop: (B, 128, 4, 4) -> (B, points, 2), in quarters of the crop's cells."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(128, 128), Block(128, 128), Block(128, 128, 2), Block(128, 128), Block(128, 128)),
            *(nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32)),
        )
        self.points = nn.Conv2d(32, 2 * points, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.points(self.blocks(x))
        return out.reshape(len(x), -1, 2)
