"""Where keypoints really are: the frame registered with the source image, keypoints free to move the picture.

A motion extractor sees one frame and is off by a pixel or two, differently in each; two pictures tell to a fraction of
one. Dense motion is linear in where keypoints lie as long as its masks are what they are, so Gauss-Newton (Lucas and
Kanade 1981) finds the shifts at which the source, moved as the network moves it, is the frame; the network runs once.
What the extractor says is the prior, tight for eyes and lips, which it was taught, wide where nothing guided it. What
keypoints cannot reach is found with them, as shifts on a grid (`Motion.shifts`), which lie at nothing otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import GRID, CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.blocks import resize_flow, warp
from model.networks.small.config import FEATURES, GUIDED
from model.networks.small.dense_motion import Situation

SIDE = 128
"""Pixels of the pictures that are registered; half of it is registered first."""

_FINE, _COARSE = 0, 1
# What each step of Gauss-Newton looks at: in a first frame, and where the search begins at what was found in the last.
_FIRST, _LATER = (_COARSE, _COARSE, _FINE), (_COARSE, _FINE)
_PLACES = 1400  # that are looked at
_NOISE = 3.0  # least spread of grey values, of 255, that is taken for noise
_OUTLIER = 4.685  # spreads from which a pixel has no say
_ALIKE = 1 / 16  # neighbouring pixels are not independent witnesses
# One sigma, crop units, by which the extractor is off: for eyes, brows, nose and mouth, for the rest of the guided
# keypoints, and for those that nothing guides.
_FEATURES, _OUTLINE, _FREE = 0.006, 0.03, 0.045
_FURTHEST = 2.0
"""Sigmas that a keypoint of the head may be moved: what passes behind hair would take it along, a little each frame."""
_SHIFT = 0.02  # one sigma of a shift, crop units
_FURTHEST_SHIFT = 0.18
_FORGIVEN = 0.5  # of what the last frame was missed by
_SHARED = 0.5  # of that variance, what keypoints beside each other have in common
_BESIDE = 0.35  # crop units, one sigma


def thumbnails(frames: Tensor) -> Tensor:
    """Frames (B, 3, S, S) in [0, 1] as they are registered, (B, 128, 128); `registration.thumbnail` for tensors."""
    return F.avg_pool2d(frames[:, 1] * 255.0, frames.shape[-1] // SIDE)


def planes(grey: Tensor) -> Tensor:
    """Grey values (B, n, n) of 255 -> (B, 3, n, n): these, and their gradients along x and y a pixel."""
    slope_y, slope_x = torch.gradient(grey, dim=(1, 2))
    return torch.stack([grey, slope_x, slope_y], 1)


def off_by(expression: Tensor, off: Tensor) -> Tensor:
    """Expression (B, K, 3) with keypoints moved by `off` (B, K, 2)."""
    return expression + F.pad(off, (0, 1))


Moves: TypeAlias = Callable[[Motion], tuple[Tensor, Tensor]]
"""How a network has a driving motion move one batch of source images: flow (B, 2, G, G), the source coordinates of each
driving pixel, and masks (B, K + 1, G, G), to what each belongs, background first."""


@dataclass(frozen=True)
class Key:
    """Source images, that frames are held against."""

    canonical: CanonicalKeypoints
    motion: Motion  # batch shape B
    moves: Moves
    body: int  # how many keypoints, the last ones, are the body's
    planes: tuple[Tensor, Tensor]  # (B, 4, n, n), `planes` and the person's share of each pixel; and of half the size
    sigma: Tensor  # (K,) by how much the extractor is off
    # How surely the extractor has keypoints where they are, (B, K, K), and how surely nothing is shifted, (64, 64).
    precision: tuple[Tensor, Tensor]

    @staticmethod
    def of(canonical: CanonicalKeypoints, motion: Motion, moves: Moves, body: int, grey: Tensor, person: Tensor) -> Key:
        """`grey` (B, n, n) of 255, as `thumbnails` makes it; `person` (B, 1, S, S), their share of each pixel."""
        points = compose(canonical, motion)[..., :2]
        sigma = _sigma(points)
        places = pixel_grid(GRID, GRID, points).reshape(1, -1, 2)
        precision = _precision(points, sigma), _precision(places, sigma.new_full((GRID * GRID,), _SHIFT))[0]
        small = F.adaptive_avg_pool2d(person, SIDE // 2)
        levels = (planes(grey), F.adaptive_avg_pool2d(person, SIDE)), (planes(F.avg_pool2d(grey, 2)), small)
        fine, coarse = (torch.cat(level, 1) for level in levels)
        return Key(canonical, motion, moves, body, (fine, coarse), sigma, precision)


@dataclass(frozen=True)
class Found:
    """What holding frames against source images tells."""

    off: Tensor  # (B, K, 2) how far keypoints lie from where the extractor has them, in units of the head's scale
    shifts: Tensor  # (B, 64, 2) of `Motion.shifts`
    missed: Tensor  # (B, n, n) grey values by which the moved source falls short of the frame

    def applied(self, motion: Motion) -> Motion:
        """A motion as extracted, put right."""
        return replace(motion, expression=off_by(motion.expression, self.off), shifts=self.shifts)

    def where(self, chosen: Tensor) -> Found:
        """The same of those `chosen` (B,), of the others nothing."""
        return Found(*(_where(chosen, getattr(self, field.name)) for field in fields(Found)))


@torch.no_grad()
def align(key: Key, driving: Motion, frame: Tensor, before: Found | None = None, hold: float = 0.0) -> Found:
    """Where the picture shows what `driving`, of batch shape B, only says.

    frame    (B, n, n) grey values of the frame, of 255
    before   what was found in the frame before; the search begins there
    hold     how strongly it also stays there, as a multiple of how strongly the extractor is believed
    """
    at_first = driving if before is None else before.applied(driving)
    keypoints = Situation.of(key.canonical, key.motion, at_first, key.body)
    flow, masks = key.moves(at_first)
    cover = warp(key.planes[_FINE][:, 3:], flow.permute(0, 2, 3, 1))  # (B, 1, G, G)
    points = _telling(F.avg_pool2d(frame, 2), 1 - cover)  # (B, N, 2)
    grid = pixel_grid(flow.shape[2], flow.shape[3], flow).permute(2, 0, 1)
    at_points = points + _read(flow - grid, points).mT  # (B, N, 2); displacements go on beyond the border, not places
    # What the unknowns move: a keypoint all that belongs to it, a shift what lies around its place.
    share = torch.cat([_read(masks, points)[:, 1:], _around(points)], 1)  # (B, U, N)
    # What the last frame was missed by is half forgiven: a picture that errs alike in both does not tremble.
    wanted = frame if before is None else frame - _FORGIVEN * before.missed
    wanted_at = [_read(grey[:, None], points)[:, 0] for grey in (wanted, F.avg_pool2d(wanted, 2))]  # (B, N) each

    local, scale = _local(keypoints), driving.scale[:, None, None]  # (B, K, 2, 2), (B, 1, 1)
    # Unknown is by how much source coordinates change: x of keypoints and shifts, then y.
    size = share.shape[1]
    shift = share.new_zeros(len(frame), 2 * size)
    precision = _both(*key.precision, len(frame))
    start = shift
    if before is not None:
        came = -(local @ (scale * before.off)[..., None])[..., 0]
        start = torch.cat([came, before.shifts], 1).mT.flatten(1)

    def look(level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Source (B, 4, N) where pixels come from; by how much they differ from it; which come from its person."""
        at = at_points + (shift.reshape(len(frame), 2, -1) @ share).mT
        seen = _read(key.planes[level], at)
        inside = (at.abs() < 1).all(-1) & (seen[:, 3] > 0.5)  # what is behind the person does not move with keypoints
        return seen, _missed(wanted_at[level] - seen[:, 0], inside), inside

    _, first, before_inside = look(_FINE)
    spread = _spread(first, before_inside)
    for level in _FIRST if before is None else _LATER:
        seen, miss, inside = look(level)
        weight = _weight(miss, inside, _spread(miss, inside))
        curvature, push = _normal_equations(share, seen[:, 1:3] * (key.planes[level].shape[-1] / 2), weight, miss)
        normal = curvature + (1 + hold) * precision
        pull = (precision @ (start + (1 + hold) * shift)[..., None])[..., 0]
        shift = shift + torch.cholesky_solve((push - pull)[..., None], torch.linalg.cholesky_ex(normal)[0])[..., 0]
    _, miss, inside = look(_FINE)
    better = (_badness(miss, inside, spread) < _badness(first, before_inside, spread)) & shift.isfinite().all(1)
    change = _where(better, shift).reshape(len(frame), 2, -1).mT  # (B, U, 2)
    k = masks.shape[1] - 1
    off = torch.linalg.solve_ex(local, -change[:, :k, :, None])[0][..., 0] / scale
    off = torch.where(off.isfinite(), off, 0.0)  # of a head seen from the side, no displacement may lead there
    shifts = change[:, k:]
    if before is not None:
        off, shifts = before.off + off, before.shifts + shifts
    off = _within_reach(off, key.sigma, scale, key.body)
    shifts = shifts.clamp(-_FURTHEST_SHIFT, _FURTHEST_SHIFT)
    return Found(off, shifts, _left(key, flow, masks, change, frame))


def _normal_equations(share: Tensor, slope: Tensor, weight: Tensor, miss: Tensor) -> tuple[Tensor, Tensor]:
    """Curvature (B, 2U, 2U) and push (B, 2U) of the weighted squares of what is missed.

    share   (B, U, N) how much of each unknown moves each place
    slope   (B, 2, N) of grey values, along x and y
    weight  (B, N)
    miss    (B, N)
    """
    b, size, _ = share.shape
    x, y = slope[:, 0], slope[:, 1]
    xx, xy, yy = (share * (weight * a * c)[:, None] @ share.mT for a, c in ((x, x), (x, y), (y, y)))
    curvature = torch.stack([torch.stack([xx, xy], 2), torch.stack([xy, yy], 2)], 1)  # (B, 2, U, 2, U)
    push = share @ (slope * (weight * miss)[:, None]).mT  # (B, U, 2)
    return curvature.reshape(b, 2 * size, 2 * size), push.mT.flatten(1)


def _left(key: Key, flow: Tensor, masks: Tensor, change: Tensor, frame: Tensor) -> Tensor:
    """Grey values (B, n, n) by which the source, moved by `flow` and `change` (B, U, 2), falls short of the frame."""
    b, _, height, width = flow.shape
    around = _around(pixel_grid(height, width, flow).reshape(1, -1, 2)).expand(b, -1, -1)  # (B, 64, GG)
    moved = change.mT @ torch.cat([masks[:, 1:].flatten(2), around], 1)  # (B, 2, GG)
    at = resize_flow((flow + moved.reshape(flow.shape)).permute(0, 2, 3, 1), frame.shape[-1] // height)
    inside = (at.abs() < 1).all(-1).flatten(1)
    miss = frame - warp(key.planes[_FINE][:, :1], at)[:, 0]
    return _where(inside, _missed(miss.flatten(1), inside)).reshape(frame.shape)


def _where(chosen: Tensor, values: Tensor) -> Tensor:
    """Values (B, ...) where `chosen`, of their leading shape, is true, else 0; also where they are no numbers."""
    return torch.where(chosen.reshape(*chosen.shape, *[1] * (values.ndim - chosen.ndim)), values, 0.0)


def _around(points: Tensor) -> Tensor:
    """How much each shift has to say at places (B, N, 2): (B, 64, N), bilinear between the places of the grid."""
    at = ((points + 1) / 2 * GRID - 0.5).clamp(0, GRID - 1)
    steps = torch.arange(GRID, device=points.device, dtype=points.dtype)
    share = (1 - (at[..., None] - steps).abs()).clamp(min=0)  # (B, N, 2, 8)
    return (share[:, :, 1, :, None] * share[:, :, 0, None, :]).flatten(2).mT


def _read(planes: Tensor, at: Tensor) -> Tensor:
    """Planes (B, C, n, n) at places (B, N, 2): (B, C, N)."""
    out: Tensor = F.grid_sample(planes, at[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return out


def _telling(grey: Tensor, behind: Tensor) -> Tensor:
    """Places (B, N, 2) in pictures (B, n, n): more where there is something to see, few of what is `behind`.

    behind  (B, 1, G, G) how surely a square of pixels is background
    """
    n = grey.shape[-1]
    slope = planes(grey)[:, 1:].square().sum(1)
    # Fixed patterns in place of chance: the same frame gives the same places.
    index = torch.arange(n * n, device=grey.device)
    pattern = (index.double() * ((math.sqrt(5) - 1) / 2) % 1).to(grey)
    behind = F.interpolate(behind, size=(n, n))[:, 0]
    says = (1 - behind) * (slope + 1).sqrt()
    chosen = (says.flatten(1) * pattern).topk(min(_PLACES, n * n), 1).indices  # (B, N)
    # Not the middle of a pixel, where the finer picture would be blurred, but one of its quarters.
    quarter = torch.stack([chosen % 3 % 2, chosen % 5 % 2], -1) - 0.5  # (B, N, 2)
    return pixel_grid(n, n, grey).reshape(-1, 2)[chosen] + quarter / n


def _middle(values: Tensor, inside: Tensor) -> Tensor:
    """Median (B, 1) of those inside; 0 where there are none."""
    return torch.where(inside, values, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num()


def _missed(miss: Tensor, inside: Tensor) -> Tensor:
    """Grey values (B, N) missed, without what exposure has changed in all of them."""
    return miss - _middle(miss, inside)


def _spread(miss: Tensor, inside: Tensor) -> Tensor:
    """Robust standard deviation (B, 1) of grey values missed."""
    return (1.4826 * _middle(miss.abs(), inside)).clamp(min=_NOISE)


def _weight(miss: Tensor, inside: Tensor, spread: Tensor) -> Tensor:
    """Robust weights (B, N), Tukey's, over the variance."""
    alike = _ALIKE * (SIDE // 2) ** 2 / miss.shape[1]
    return (1 - (miss / (_OUTLIER * spread)) ** 2).clamp(min=0) ** 2 * inside * (alike / spread**2)


def _badness(miss: Tensor, inside: Tensor, spread: Tensor) -> Tensor:
    """How badly the source fits, (B,): the mean square of what is missed, of outliers no more than they may."""
    return torch.where(inside, (miss / spread).abs(), _OUTLIER).clamp(max=_OUTLIER).square().mean(1)


def _sigma(points: Tensor) -> Tensor:
    """By how much the extractor is off, (K,) of keypoints (B, K, n)."""
    sigma = points.new_full((points.shape[1],), _FREE)
    sigma[: len(GUIDED)] = _OUTLINE
    sigma[list(FEATURES)] = _FEATURES
    return sigma


def _within_reach(off: Tensor, sigma: Tensor, scale: Tensor, body: int) -> Tensor:
    """Offsets (B, K, 2) in units of the head's scale (B, 1, 1), those of the head no longer than they may be."""
    reach = _FURTHEST * sigma
    reach[off.shape[1] - body :] = torch.inf
    length = scale[..., 0] * off.norm(dim=-1)  # (B, K)
    out: Tensor = off * (reach / length.clamp(min=1e-6)).clamp(max=1.0)[..., None]
    return out


def _precision(points: Tensor, sigma: Tensor) -> Tensor:
    """Inverse covariance (B, N, N) of by how much what lies at `points` (B, N, 2) is off, by sigmas (N,)."""
    near = torch.exp(-torch.cdist(points, points).square() / (2 * _BESIDE**2))
    alone = torch.eye(points.shape[1], device=points.device, dtype=points.dtype)
    covariance = sigma[:, None] * sigma * (_SHARED * near + (1 - _SHARED) * alone)  # (B, N, N)
    inverse: Tensor = torch.linalg.inv_ex(covariance)[0]
    return inverse


def _both(keypoints: Tensor, shifts: Tensor, count: int) -> Tensor:
    """Precision (B, 2U, 2U) of all that is unknown, x of all, then y; of keypoints (B, K, K) and of shifts (64, 64)."""
    k, size = keypoints.shape[1], keypoints.shape[1] + len(shifts)
    out = keypoints.new_zeros(count, 2, size, 2, size)
    for axis in (0, 1):
        out[:, axis, :k, axis, :k], out[:, axis, k:, axis, k:] = keypoints, shifts
    return out.reshape(count, 2 * size, 2 * size)


def _local(keypoints: Situation) -> Tensor:
    """How displacements of each keypoint in the driving frame become those in the source: (B, K, 2, 2)."""
    heads = keypoints.heads
    bodies = keypoints.driving.shape[1] - heads
    head = keypoints.local[:, None, :2, :2].expand(-1, heads, -1, -1)
    return torch.cat([head, keypoints.body_local[:, None, :2, :2].expand(-1, bodies, -1, -1)], 1)
