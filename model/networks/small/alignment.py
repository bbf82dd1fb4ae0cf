"""Where keypoints really are: the frame registered with the source image, keypoints free to move the picture.

A motion extractor sees one frame and is off by a pixel or two, differently in each; two pictures tell to a fraction of
one. Dense motion is linear in where keypoints lie once its masks are known, so Gauss-Newton (Lucas and Kanade 1981)
finds the shifts at which the source, moved by the masks that dense motion begins with, is the frame: no network runs.
What the extractor says is the prior, tight for eyes and lips, which it was taught, wide where nothing guided it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import Situation, SmallDenseMotion, surface_flow
from model.profiles.small import FEATURES, GUIDED

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


@dataclass(frozen=True)
class Key:
    """Source images, that frames are held against."""

    canonical: CanonicalKeypoints
    motion: Motion  # batch shape B
    planes: tuple[Tensor, Tensor]  # (B, 3, n, n), and of half the size
    sigma: Tensor  # (K,) by how much the extractor is off
    precision: Tensor  # (B, 2K, 2K) how surely the extractor has keypoints where they are: x of all, then y of all

    @staticmethod
    def of(canonical: CanonicalKeypoints, motion: Motion, grey: Tensor) -> Key:
        """`grey` (B, n, n) of 255, as `thumbnails` makes it."""
        points = compose(canonical, motion)[..., :2]
        sigma = _sigma(points)
        return Key(canonical, motion, (planes(grey), planes(F.avg_pool2d(grey, 2))), sigma, _precision(points, sigma))


@torch.no_grad()
def align(
    dense_motion: SmallDenseMotion,
    key: Key,
    driving: Motion,
    frame: Tensor,
    before: Tensor | None = None,
    hold: float = 0.0,
) -> Tensor:
    """How far the keypoints lie from where `driving` has them, (B, K, 2) in units of the head's scale.

    driving  motion of the frame, batch shape B
    frame    (B, n, n) grey values of the frame, of 255
    before   (B, K, 2) what was found in the frame before; the search begins there
    hold     how strongly it also stays there, as a multiple of how strongly the extractor is believed
    """
    at_first = driving if before is None else replace(driving, expression=off_by(driving.expression, before))
    keypoints = Situation.of(key.canonical, key.motion, at_first, dense_motion.body)
    fine, coarse = frame, F.avg_pool2d(frame, 2)
    points = _telling(coarse, dense_motion.prior(_grid(coarse, 2), keypoints.driving).softmax(1)[:, :1])  # (B, N, 2)
    masks = dense_motion.prior(points[:, None], keypoints.driving).softmax(1)  # (B, K + 1, 1, N)
    flow = surface_flow(masks, points[:, None], keypoints)[:, 0]  # (B, N, 2)
    share = masks[:, 1:, 0]  # (B, K, N)
    wanted = [_read(grey[:, None], points)[:, 0] for grey in (fine, coarse)]  # (B, N) each

    local = _local(keypoints)  # (B, K, 2, 2)
    scale = driving.scale[:, None, None]
    # Unknown is by how much the source coordinates of what a keypoint moves change: x of all, then y of all.
    shift = torch.zeros_like(share[:, :1, 0]).expand(len(frame), 2 * share.shape[1])
    start = shift if before is None else -(local @ (scale * before)[..., None])[..., 0].mT.flatten(1)

    def look(level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Source (B, 3, N) where pixels come from; by how much they differ from it; which come from within it."""
        at = flow + (shift.reshape(len(flow), 2, -1) @ share).mT
        seen, inside = _read(key.planes[level], at), (at.abs() < 1).all(-1)
        return seen, _missed(wanted[level] - seen[:, 0], inside), inside

    _, first, before_inside = look(_FINE)
    spread = _spread(first, before_inside)
    for level in _FIRST if before is None else _LATER:
        seen, miss, inside = look(level)
        weight = _weight(miss, inside, _spread(miss, inside))
        slope = torch.cat([share * seen[:, 1:2], share * seen[:, 2:]], 1) * (key.planes[level].shape[-1] / 2)
        weighed = slope * weight[:, None]  # (B, 2K, N)
        normal = weighed @ slope.mT + (1 + hold) * key.precision
        pull = (key.precision @ (start + (1 + hold) * shift)[..., None])[..., 0]
        shift = shift + torch.linalg.solve_ex(normal, (weighed @ miss[..., None])[..., 0] - pull)[0]
    _, miss, inside = look(_FINE)
    found = torch.linalg.solve_ex(local, -shift.reshape(len(frame), 2, -1).mT[..., None])[0][..., 0] / scale
    better = _badness(miss, inside, spread) < _badness(first, before_inside, spread)
    found = torch.where(better[:, None, None] & found.isfinite(), found, 0.0)
    return _within_reach(found if before is None else before + found, key.sigma, scale, dense_motion.body)


def _grid(grey: Tensor, step: int = 1) -> Tensor:
    """Places (n / step, n / step, 2) of the pixels, or of squares of `step` pixels, of pictures (B, n, n)."""
    n = grey.shape[-1] // step
    return pixel_grid(n, n, grey)


def _read(planes: Tensor, at: Tensor) -> Tensor:
    """Planes (B, C, n, n) at places (B, N, 2): (B, C, N)."""
    out: Tensor = F.grid_sample(planes, at[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return out


def _telling(grey: Tensor, behind: Tensor) -> Tensor:
    """Places (B, N, 2) in pictures (B, n, n): more where there is something to see, few of what is `behind`.

    behind  (B, 1, n / 2, n / 2) how surely a square of pixels is background
    """
    n = grey.shape[-1]
    slope = planes(grey)[:, 1:].square().sum(1)
    # Fixed patterns in place of chance: the same frame gives the same places.
    index = torch.arange(n * n, device=grey.device)
    pattern = (index.double() * ((math.sqrt(5) - 1) / 2) % 1).to(grey)
    says = (1 - F.interpolate(behind, scale_factor=2.0)[:, 0]) * (slope + 1).sqrt()
    chosen = (says.flatten(1) * pattern).topk(min(_PLACES, n * n), 1).indices  # (B, N)
    # Not the middle of a pixel, where the finer picture would be blurred, but one of its quarters.
    quarter = torch.stack([chosen % 3 % 2, chosen % 5 % 2], -1) - 0.5  # (B, N, 2)
    return _grid(grey).reshape(-1, 2)[chosen] + quarter / n


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
    """Inverse covariance (B, 2K, 2K) of by how much the extractor is off at keypoints (B, K, 2), x of all, then y."""
    b, k, _ = points.shape
    near = torch.exp(-torch.cdist(points, points).square() / (2 * _BESIDE**2))
    alone = torch.eye(k, device=points.device, dtype=points.dtype)
    covariance = sigma[:, None] * sigma * (_SHARED * near + (1 - _SHARED) * alone)  # (B, K, K)
    inverse = torch.linalg.inv_ex(covariance)[0]
    both = points.new_zeros(b, 2, k, 2, k)
    both[:, 0, :, 0], both[:, 1, :, 1] = inverse, inverse
    return both.reshape(b, 2 * k, 2 * k)


def _local(keypoints: Situation) -> Tensor:
    """How displacements of each keypoint in the driving frame become those in the source: (B, K, 2, 2)."""
    heads = keypoints.heads
    bodies = keypoints.driving.shape[1] - heads
    head = keypoints.local[:, None, :2, :2].expand(-1, heads, -1, -1)
    return torch.cat([head, keypoints.body_local[:, None, :2, :2].expand(-1, bodies, -1, -1)], 1)
