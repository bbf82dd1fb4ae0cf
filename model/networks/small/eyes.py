"""Eyes at full resolution: between the lids pixels are the source image's, the irises moved to where they look.

An eye is ten pixels of 256 and three cells of dense motion's flow, which therefore bends an iris instead of moving it.
So between the lids each pixel is read from the source image anew: rigidly with the iris where the iris is, stretched
towards the corners of the eye beside it, and never from beyond the source's own lids. The lids' lines come from the
source's landmarks, moved up and down by the driving keypoints. Where the source's eye is (nearly) closed there is
nothing to take, and the generator's painting stays.

Eye coordinates: the corners lie at u = -1 and u = 1; v is perpendicular to the line between them, down, in that unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.small_config import EYE_KEYPOINTS, WILD

CONTOURS = (
    ((33, 133), (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), (468, 469, 470, 471, 472)),
    ((362, 263), (398, 384, 385, 386, 387, 388, 466), (382, 381, 380, 374, 373, 390, 249), (473, 474, 475, 476, 477)),
)
"""MediaPipe's landmarks of either eye, left of the picture first: corners, upper and lower lid from left to right, the
iris' middle and four points of its edge."""

_KNOTS = 33  # places along the eye at which the lids' lines are kept
_MIDDLE = 3  # of the seven landmarks of a lid, the one that is a guided keypoint
_EDGE = 0.6 / 128  # crop units that the lids' own pixels keep: lashes and their shadow
_SOFT = 1.2 / 128  # crop units over which lids and eye blend
_LEAST_WIDTH = 4 / 128  # crop units of half an eye's width, under which an eye is too small to be drawn
_FURTHEST = 0.6  # eye coordinates by which an iris may have moved
_LEAST_GAP = 0.12  # eye coordinates over which the white beside an iris is stretched at least
_OPEN = (0.05, 0.15)  # opening of the source's eye, eye coordinates, from which it is used, and wholly
_AS_OPEN = (0.30, 0.55)  # the same as a share of the driving eye's opening
_TURNED = (0.5, 0.7)  # width of the driving eye as a share of the source's, likewise


@dataclass(frozen=True)
class SourceEyes:
    """Both eyes of source images; batch shape B, the eye left of the picture first."""

    middle: Tensor  # (B, 2, 2) between the corners, crop units
    axis: Tensor  # (B, 2, 2) from there to the right corner
    upper: Tensor  # (B, 2, 33) v of the upper lid at u = -1 ... 1
    lower: Tensor  # (B, 2, 33) of the lower lid
    iris: Tensor  # (B, 2, 2) its middle, eye coordinates
    radius: Tensor  # (B, 2) of the iris
    lids: Tensor  # (B, 2, 2) v of the upper and the lower lid's keypoint

    @staticmethod
    def of(landmarks: Tensor) -> SourceEyes:
        """From landmarks (B, 478, 2 or more) of the source images in crop units."""
        points = landmarks[..., :2]
        parts = []
        for corners, upper, lower, iris in CONTOURS:
            left, right = points[:, corners[0]], points[:, corners[1]]
            middle, axis = (left + right) / 2, (right - left) / 2
            lines, lids = [], []
            for lid in (upper, lower):
                line = to_eye(points[:, [corners[0], *lid, corners[1]]], middle[:, None], axis[:, None])
                lids.append(line[:, 1 + _MIDDLE, 1])
                lines.append(_resampled(line))
            ring = to_eye(points[:, list(iris)], middle[:, None], axis[:, None])
            radius = (ring[:, 1:] - ring[:, :1]).norm(dim=-1).mean(1)
            parts.append((middle, axis, *lines, ring[:, 0], radius, torch.stack(lids, -1)))
        return SourceEyes(*(torch.stack(part, 1) for part in zip(*parts, strict=True)))

    @staticmethod
    def none(device: torch.device) -> SourceEyes:
        """Of one source image whose eyes cannot be seen."""
        pair, line = torch.zeros(1, 2, 2, device=device), torch.zeros(1, 2, _KNOTS, device=device)
        return SourceEyes(pair, pair, line, line, pair, pair[..., 0], pair)

    @staticmethod
    def joined(several: Sequence[SourceEyes]) -> SourceEyes:
        """Those of several source images side by side."""
        return SourceEyes(*(torch.cat([getattr(one, part.name) for one in several]) for part in fields(SourceEyes)))


def to_eye(points: Tensor, middle: Tensor, axis: Tensor) -> Tensor:
    """Eye coordinates of points (..., 2) in crop units."""
    offset = points - middle
    square = (axis * axis).sum(-1).clamp(min=1e-8)
    u = (offset[..., 0] * axis[..., 0] + offset[..., 1] * axis[..., 1]) / square
    v = (offset[..., 1] * axis[..., 0] - offset[..., 0] * axis[..., 1]) / square
    return torch.stack([u, v], -1)


def from_eye(u: Tensor, v: Tensor, middle: Tensor, axis: Tensor) -> Tensor:
    """Crop units (..., 2) of eye coordinates; the inverse of `to_eye`."""
    x = middle[..., 0] + u * axis[..., 0] - v * axis[..., 1]
    y = middle[..., 1] + u * axis[..., 1] + v * axis[..., 0]
    return torch.stack([x, y], -1)


def _resampled(line: Tensor) -> Tensor:
    """V at 33 places of u from -1 to 1 of a line (B, 9, 2) in eye coordinates whose ends are the corners."""
    u = torch.linspace(-1, 1, _KNOTS, device=line.device, dtype=line.dtype)
    knots = line[..., 0].cummax(-1).values  # (B, 9); lids seen from the side may fold back
    widths = (knots[:, 1:] - knots[:, :-1]).clamp(min=1e-4)
    slopes = (line[:, 1:, 1] - line[:, :-1, 1]) / widths
    along = (u[None, :, None] - knots[:, None, :-1]).clamp(min=0).minimum(widths[:, None])  # (B, 33, 8)
    return line[:, :1, 1] + (along * slopes[:, None]).sum(-1)


def _line(table: Tensor, u: Tensor) -> Tensor:
    """A lid's line (B, 2, 33) at u (B, 2, N)."""
    place = ((u + 1) / 2 * (_KNOTS - 1)).clamp(0, _KNOTS - 1.001)
    low = place.floor()
    index = low.long()
    return torch.lerp(table.gather(-1, index), table.gather(-1, index + 1), place - low)


def _rise(value: Tensor, between: tuple[float, float]) -> Tensor:
    """0 up to the first of two values, 1 from the second on."""
    low, high = between
    return ((value - low) / (high - low)).clamp(0, 1)


def draw_eyes(frame: Tensor, image: Tensor, source: SourceEyes, keypoints: Tensor) -> Tensor:
    """Frames with the eyes of their source images between the lids.

    frame      (B, 3, S, S) in [0, 1] or uint8, as the generator painted it
    image      (B, 3, R, R) in [0, 1], source images, which may be larger
    keypoints  (B, J, 2 or more) guided keypoints of the driving frames, crop units
    """
    size = frame.shape[-1]
    # Motion comes from a network: what is no number, or far outside the picture, must not stop a frame.
    eyes = keypoints[:, list(EYE_KEYPOINTS), :2].nan_to_num(0.0).clamp(-WILD, WILD)  # (B, 2, 5, 2)
    left, right = eyes[:, :, 0], eyes[:, :, 1]
    middle, axis = (left + right) / 2, (right - left) / 2  # (B, 2, 2)
    width = axis.norm(dim=-1)  # (B, 2)
    upper, lower, iris = to_eye(eyes[:, :, 2:], middle[:, :, None], axis[:, :, None]).unbind(2)  # (B, 2, 2) each

    pixels, at = _windows(middle, width, size)  # (B, 2, N, 2) indices, (B, 2, N, 2) crop units
    u, v = to_eye(at, middle[:, :, None], axis[:, :, None]).unbind(-1)  # (B, 2, N)
    arch = (1 - u * u).clamp(min=0)
    top = _line(source.upper, u) + (upper[..., 1] - source.lids[..., 0])[..., None] * arch
    bottom = _line(source.lower, u) + (lower[..., 1] - source.lids[..., 1])[..., None] * arch
    inside = torch.minimum(v - top, bottom - v) * width[..., None] - _EDGE
    inside = torch.where(u.abs() < 1, inside, -1.0)
    alpha = (inside / _SOFT + 0.5).clamp(0, 1) * _confidence(source, axis, upper, lower)[..., None]

    shift = (source.iris - iris).clamp(-_FURTHEST, _FURTHEST)  # (B, 2, 2)
    held = 1.05 * source.radius
    near_left = ((u + 1) / (iris[..., 0] - held + 1).clamp(min=_LEAST_GAP)[..., None]).clamp(0, 1)
    near_right = ((1 - u) / (1 - iris[..., 0] - held).clamp(min=_LEAST_GAP)[..., None]).clamp(0, 1)
    share = torch.minimum(near_left, near_right)
    u, v = u + shift[..., :1] * share, v + shift[..., 1:] * share
    edge = (0.8 / 128) / source.axis.norm(dim=-1).clamp(min=_LEAST_WIDTH)[..., None]
    top, bottom = _line(source.upper, u) + edge, _line(source.lower, u) - edge
    v = v.minimum(bottom).maximum(top)
    places = from_eye(u, v, source.middle[:, :, None], source.axis[:, :, None])  # (B, 2, N, 2)
    colours = F.grid_sample(image, places, mode="bicubic", padding_mode="border", align_corners=False)  # (B, 3, 2, N)

    out = frame.clone()
    row, column = pixels[..., 1], pixels[..., 0]  # (B, 2, N)
    batch = torch.arange(len(frame), device=frame.device)[:, None]
    for eye in (0, 1):  # one after the other: windows of faces seen from the side may overlap
        r, c, weight = row[:, eye], column[:, eye], alpha[:, eye, :, None]
        drawn = colours[:, :, eye].mT.clamp(0, 1)  # (B, N, 3)
        if out.dtype == torch.uint8:
            blended = torch.lerp(out[batch, :, r, c].to(drawn.dtype), drawn * 255, weight.to(drawn.dtype)) + 0.5
        else:
            blended = torch.lerp(out[batch, :, r, c], drawn.to(out.dtype), weight.to(out.dtype))
        out[batch, :, r, c] = blended.to(out.dtype)
    return out


def _windows(middle: Tensor, width: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels around each eye: indices x, y (B, 2, N, 2), and where they lie, crop units."""
    wide = min(size, int(1.1 * float(width.max()) * size) + 2)
    high = min(size, wide * 2 // 3)
    first = ((middle + 1) * size / 2).round().long() - torch.tensor([wide // 2, high // 2], device=middle.device)
    limit = torch.tensor([size - wide, size - high], device=middle.device)
    first = first.maximum(torch.zeros_like(limit)).minimum(limit)
    x, y = torch.arange(wide, device=middle.device), torch.arange(high, device=middle.device)
    offsets = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    pixels = first[:, :, None] + offsets
    return pixels, (pixels * 2 + 1).to(middle.dtype) / size - 1


def _confidence(source: SourceEyes, axis: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    """How far the source's eye can stand for the driving one, (B, 2): open enough, and not seen from aside."""
    width, of = axis.norm(dim=-1), source.axis.norm(dim=-1)
    opening = source.lids[..., 1] - source.lids[..., 0]
    wanted = (lower[..., 1] - upper[..., 1]).clamp(min=1e-3)
    seen = _rise(opening, _OPEN) * _rise(opening / wanted, _AS_OPEN) * _rise(width / of.clamp(min=1e-6), _TURNED)
    return seen * (torch.minimum(width, of) > _LEAST_WIDTH)
