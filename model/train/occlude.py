"""What comes before faces: hands, cups, microphones, telephones. The extractor must read the motion that they hide.

Drawn, not filmed: landmarks of faces that are half hidden are what a landmark teacher knows least.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import pixel_grid

_HANDS, _THINGS = 0.25, 0.15  # shares of the frames
_FINGERS = 4
_SIDE = 128  # pixels of a silhouette before it is enlarged


def occluded(frames: Tensor, points: Tensor, seed: int) -> Tensor:
    """Frames (B, 3, S, S) in [0, 1], some with a hand in the face's own colour or a thing before the face.

    points  (B, J, 3) keypoints of the faces, crop units
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(frames), generator=generator)
    middle, half = _face(points[..., :2])
    hands, things = drawn < _HANDS, (drawn >= _HANDS) & (drawn < _HANDS + _THINGS)
    out = frames
    for chosen, covers in ((hands, _hands), (things, _things)):
        index = chosen.nonzero().flatten().to(frames.device)
        if len(index):
            mask, paint = covers(frames, index, points, middle[index], half[index], generator)
            out = out.index_copy(0, index, out[index] * (1 - mask) + paint * mask)
    return out


def _face(points: Tensor) -> tuple[Tensor, Tensor]:
    """Middle (B, 2) and half the height (B, 1) of points (B, J, 2)."""
    low, high = points.amin(1), points.amax(1)
    return (low + high) / 2, ((high - low)[:, 1:] / 2).clamp(min=0.05)


def _hands(
    frames: Tensor, index: Tensor, points: Tensor, middle: Tensor, half: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Masks (N, 1, S, S) of a palm, its fingers and the arm, and what they look like, (N, 3, S, S)."""
    random = _drawing(index, generator)
    away, round_ = random(1).sqrt() * 1.1, random(1) * 2 * math.pi
    palm = middle + half * away * torch.cat([round_.cos(), round_.sin()], 1)
    upwards = (random(1) - 0.5) * math.radians(150)  # where fingers point, from straight up
    spread = 0.1 + 0.35 * random(1)  # of the fingers, radians
    size = half * (0.7 + 0.5 * random(1))
    toward = _turn(upwards)
    capsules = [(palm, palm - toward * size * 4, 0.34 * size), (palm, palm + toward * size * 0.2, 0.38 * size)]
    for finger in range(_FINGERS):
        across = (finger - (_FINGERS - 1) / 2) / _FINGERS
        base = palm + size * (0.25 * toward + across * 0.75 * _turn(upwards + math.pi / 2))
        length = size * (0.75 + 0.25 * random(1)) * (1 - 0.5 * abs(across))
        capsules.append((base, base + length * _turn(upwards + across * spread), 0.1 * size))
    grid = pixel_grid(_SIDE, _SIDE, middle)
    depth = torch.stack([radius[:, :, None] - _distance(grid, a, b) for a, b, radius in capsules]).amax(0)
    at = points[index, :, :2]
    skin = F.grid_sample(frames[index], at[:, None], align_corners=False).median(-1).values[..., None]  # (N, 3, 1, 1)
    # Lit unevenly, darker where it bends away and where the fingers lie side by side.
    light = F.interpolate(random(1, 5, 5), size=depth.shape[1:], mode="bicubic", align_corners=False)
    bend = (depth / (0.1 * size[:, :, None])).clamp(0, 1)[:, None]
    paint = skin * (0.7 + 0.5 * light) * (0.6 + 0.4 * bend)
    return _full(_edge(depth), frames), _full(paint, frames).clamp(0, 1)


def _things(
    frames: Tensor, index: Tensor, points: Tensor, middle: Tensor, half: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Masks (N, 1, S, S) of boxes and discs, and what they look like, (N, 3, S, S): plain, or part of a picture."""
    count, device = len(index), frames.device
    random = _drawing(index, generator)
    place = middle + half * (2 * random(2) - 1) * torch.tensor([1.1, 1.2], device=device) + half * 0.3
    size = half[:, :, None, None] * (0.25 + 0.5 * random(2, 1, 1))
    turn = random(1) * math.pi
    away = pixel_grid(_SIDE, _SIDE, middle).permute(2, 0, 1) - place[:, :, None, None]  # (N, 2, h, w)
    axes = torch.stack([_turn(turn), _turn(turn + math.pi / 2)], 1)  # (N, 2, 2)
    along = torch.einsum("nij,njhw->nihw", axes, away) / size
    disc = random(1, 1) < 0.4
    reach = torch.where(disc, along.norm(dim=1), along.abs().amax(1))  # (N, h, w), 1 at the edge
    colour = random(3, 1, 1)
    other = frames[torch.randint(len(frames), (count,), generator=generator).to(device)]
    part = F.interpolate(other[:, :, 64:128, 64:128], size=frames.shape[-2:], mode="bilinear", align_corners=False)
    plain = random(1, 1, 1) < 0.6
    paint = torch.where(plain, colour * (0.7 + 0.5 * _full(random(1, 3, 3), frames)), part)
    return _full(_edge((1 - reach) * size.amin(1)[:, 0, :, None]), frames), paint.clamp(0, 1)


def _drawing(index: Tensor, generator: torch.Generator) -> Callable[..., Tensor]:
    """What draws numbers in [0, 1), of a shape for each of the chosen frames (N,)."""

    def random(*shape: int) -> Tensor:
        return torch.rand(len(index), *shape, generator=generator).to(index.device)

    return random


def _turn(angle: Tensor) -> Tensor:
    """Directions (N, 2) that lie angles (N, 1) from straight up, radians."""
    return torch.cat([angle.sin(), -angle.cos()], 1)


def _distance(grid: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Of each of a grid's places (h, w, 2) from the lines between a and b (N, 2): (N, h, w)."""
    line, away = (b - a)[:, None, None], grid - a[:, None, None]
    share = ((away * line).sum(-1) / line.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    out: Tensor = (away - share[..., None] * line).norm(dim=-1)
    return out


def _edge(depth: Tensor) -> Tensor:
    """Masks (N, 1, h, w) of how deep, crop units, a place (N, h, w) lies within: half at the edge."""
    return torch.sigmoid(depth * _SIDE)[:, None]


def _full(small: Tensor, frames: Tensor) -> Tensor:
    """(N, C, h, w) as large as frames."""
    return F.interpolate(small, size=frames.shape[-2:], mode="bilinear", align_corners=False)
