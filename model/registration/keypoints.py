"""Where keypoints really are: the frame registered with the source image, keypoints free to move the picture.

A motion extractor sees one frame and errs by a pixel or two, differently in each; two pictures give a fraction of a
pixel. Dense motion is linear in where keypoints lie as long as its masks are what they are, so Gauss-Newton (Lucas and
Kanade 1981) finds the displacements at which the source, moved as the network moves it, is the frame; the network runs
once. The extractor's motion is the prior, tight for eyes and lips, which were guided in training, wide where nothing
guided it. What keypoints cannot reach is found with them, as residual flow (`Motion.residual_flow`), whose prior is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.keypoint_layout import KeypointLayout
from model.motion import RESIDUAL_FLOW_PLACES, RESIDUAL_FLOW_SIDE, Array, CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.blocks import resize_flow, warp
from model.networks.small.dense_motion import KeypointTransforms
from model.networks.small_config import FEATURES
from model.registration.robust import DEVIATIONS_PER_MEDIAN, TUKEY
from model.registration.similarity import THUMBNAIL

THOROUGH = 1400
"""Pixels of a frame that are compared where there is time."""

_FINE, _COARSE = 0, 1
# Size at each step of Gauss-Newton: in a first frame, and where the search begins at the last frame's alignment.
_FIRST, _LATER = (_COARSE, _COARSE, _FINE), (_COARSE, _FINE)
_NOISE = 3.0  # least spread of grey values, of 255, that is taken for noise
_ALIKE = 1 / 16  # neighbouring pixels are not independent witnesses
# One sigma, crop units, of the extractor's error: for eyes, brows, nose and mouth, for the rest of the guided
# keypoints, and for those that nothing guides.
_FEATURES, _OUTLINE, _FREE = 0.006, 0.03, 0.045
_FURTHEST = 2.0
"""Sigmas that a keypoint of the head may be moved: what passes behind hair would take it along, a little each frame."""
RESIDUAL_FLOW_SIGMA = 0.02
"""One sigma, crop units."""

FURTHEST_RESIDUAL_FLOW = 0.18
"""Crop units that residual flow reaches along each axis."""

_FORGIVEN = 0.5  # of the last frame's residual
_SHARED = 0.5  # of that variance, what keypoints beside each other have in common
_BESIDE = 0.35  # crop units, one sigma


def thumbnails(frames: Tensor) -> Tensor:
    """Frames (B, 3, S, S) in [0, 1] as they are registered, (B, 128, 128); `similarity.thumbnail` for tensors."""
    return F.avg_pool2d(frames[:, 1] * 255.0, frames.shape[-1] // THUMBNAIL)


def planes(grey: Tensor) -> Tensor:
    """Grey values (B, n, n) of 255 -> (B, 3, n, n): these, and their gradients along x and y a pixel."""
    slope_y, slope_x = torch.gradient(grey, dim=(1, 2))
    return torch.stack([grey, slope_x, slope_y], 1)


def corrected(expression: Array, keypoint_correction: Array) -> Array:
    """Expression (..., K, 3) with keypoints moved in the picture's plane by `keypoint_correction` (..., K, 2)."""
    xp = torch if isinstance(expression, Tensor) else np
    return xp.concatenate([expression[..., :2] + keypoint_correction, expression[..., 2:]], -1)


SurfaceMotion: TypeAlias = Callable[[Motion, KeypointTransforms], tuple[Tensor, Tensor]]
"""How a network has a driving motion, given with its keypoints, move one batch of source images: flow (B, 2, G, G), the
source coordinates of each driving pixel, and masks (B, K + 1, G, G), to what each belongs, background first."""


@dataclass(frozen=True)
class AlignmentReference:
    """Source images to which frames are aligned."""

    canonical: CanonicalKeypoints
    motion: Motion  # batch shape B
    surface_motion: SurfaceMotion
    layout: KeypointLayout
    planes: tuple[Tensor, Tensor]  # (B, 4, n, n), `planes` and the person's share of each pixel; and of half the size
    sigma: Tensor  # (K,) one sigma of the extractor's error, crop units
    precision: Tensor  # (B, 2U, 2U) inverse covariance of the extractor's errors and of the residual flow, `_both`

    @staticmethod
    def of(
        canonical: CanonicalKeypoints,
        motion: Motion,
        surface_motion: SurfaceMotion,
        layout: KeypointLayout,
        grey: Tensor,
        person: Tensor,
    ) -> AlignmentReference:
        """`grey` (B, n, n) of 255, as `thumbnails` makes it; `person` (B, 1, S, S), their share of each pixel."""
        points = compose(canonical, motion)[..., :2]
        sigma = keypoint_sigma(layout).to(points)
        places = pixel_grid(RESIDUAL_FLOW_SIDE, RESIDUAL_FLOW_SIDE, points).reshape(1, -1, 2)
        flow_sigma = sigma.new_full((RESIDUAL_FLOW_PLACES,), RESIDUAL_FLOW_SIGMA)
        precision = _both(_precision(points, sigma), _precision(places, flow_sigma)[0])
        small = F.adaptive_avg_pool2d(person, THUMBNAIL // 2)
        levels = (planes(grey), F.adaptive_avg_pool2d(person, THUMBNAIL)), (planes(F.avg_pool2d(grey, 2)), small)
        fine, coarse = (torch.cat(level, 1) for level in levels)
        return AlignmentReference(canonical, motion, surface_motion, layout, (fine, coarse), sigma, precision)


@dataclass(frozen=True)
class Alignment:
    """What aligning frames to source images finds: tensors, or NumPy arrays of one frame without the batch shape B."""

    keypoint_correction: Array  # (B, K, 2) from where the extractor has keypoints to where they are, at scale 1
    residual_flow: Array  # (B, 64, 2) of `Motion.residual_flow`
    residual: Array  # (B, n, n) grey values by which the moved source falls short of the frame

    def map(self, change: Callable[[Array], Array]) -> Alignment:
        """The alignment with `change` applied to each field."""
        return Alignment(change(self.keypoint_correction), change(self.residual_flow), change(self.residual))

    def applied(self, motion: Motion) -> Motion:
        """A motion as extracted, corrected."""
        expression = corrected(motion.expression, self.keypoint_correction)
        return replace(motion, expression=expression, residual_flow=self.residual_flow)

    def where(self, chosen: Tensor) -> Alignment:
        """The same of those `chosen` (B,), of the others nothing."""
        return self.map(lambda x: _where(chosen, x))


@torch.no_grad()
def align(
    reference: AlignmentReference,
    driving: Motion,
    frame: Tensor,
    before: Alignment | None = None,
    hold: float = 0.0,
    samples: int = THOROUGH,
) -> Alignment:
    """Correct `driving`, of batch shape B, to what the frames show.

    frame    (B, n, n) grey values of the frame, of 255
    before   the alignment of the frame before; the search begins there
    hold     how strongly it also stays there, as a multiple of how strongly the extractor is believed
    samples  pixels of the frame that are compared, finely; coarsely every other one is
    """
    at_first = driving if before is None else before.applied(driving)
    keypoints = KeypointTransforms.of(reference.canonical, reference.motion, at_first, reference.layout)
    flow, masks = reference.surface_motion(at_first, keypoints)
    cover = warp(reference.planes[_FINE][:, 3:], flow.permute(0, 2, 3, 1))  # (B, 1, G, G)
    points = _telling(F.avg_pool2d(frame, 2), 1 - cover, samples)  # (B, N, 2)
    grid = pixel_grid(flow.shape[2], flow.shape[3], flow).permute(2, 0, 1)
    at_points = points + _read(flow - grid, points).mT  # (B, N, 2); displacements go on beyond the border, not places
    # What the unknowns move: a keypoint all that belongs to it, residual flow what lies around its place.
    share = torch.cat([_read(masks[:, 1:], points), _around(points)], 1)  # (B, U, N)
    # Half of the last frame's residual is forgiven: a picture that errs alike in both does not tremble.
    wanted = frame if before is None else frame - _FORGIVEN * before.residual
    wanted_at = [_read(grey[:, None], points)[:, 0] for grey in (wanted, F.avg_pool2d(wanted, 2))]  # (B, N) each
    # The coarse picture is smooth: every other point tells as much.
    at_level, wanted_at[_COARSE] = (at_points, at_points[:, ::2]), wanted_at[_COARSE][:, ::2]
    share_at = (share, share[..., ::2].contiguous())

    local, scale = _local(keypoints), driving.scale[:, None, None]  # (B, K, 2, 2), (B, 1, 1)
    # Unknown is by how much source coordinates change: x by keypoints and residual flow, then y.
    size = share.shape[1]
    shift = share.new_zeros(len(frame), 2 * size)
    precision = reference.precision
    start = shift
    if before is not None:
        came = -(local @ (scale * before.keypoint_correction)[..., None])[..., 0]
        start = torch.cat([came, before.residual_flow], 1).mT.flatten(1)

    def compared(level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Source (B, 4, N) where points come from; by how much they differ from it; which come from its person."""
        at = at_level[level] + (shift.reshape(len(frame), 2, -1) @ share_at[level]).mT
        seen = _read(reference.planes[level], at)
        inside = (at.abs() < 1).all(-1) & (seen[:, 3] > 0.5)  # what is behind the person does not move with keypoints
        return seen, _without_exposure(wanted_at[level] - seen[:, 0], inside), inside

    _, first, before_inside = compared(_FINE)
    spread = _spread(first, before_inside)
    for level in _FIRST if before is None else _LATER:
        seen, residual, inside = compared(level)
        weight = _weight(residual, inside, _spread(residual, inside))
        slope = seen[:, 1:3] * (reference.planes[level].shape[-1] / 2)
        curvature, push = _normal_equations(share_at[level], slope, weight, residual)
        normal = curvature + (1 + hold) * precision
        pull = (precision @ (start + (1 + hold) * shift)[..., None])[..., 0]
        shift = shift + torch.cholesky_solve((push - pull)[..., None], torch.linalg.cholesky_ex(normal)[0])[..., 0]
    _, residual, inside = compared(_FINE)
    better = (_badness(residual, inside, spread) < _badness(first, before_inside, spread)) & shift.isfinite().all(1)
    change = _where(better, shift).reshape(len(frame), 2, -1).mT  # (B, U, 2)
    k = masks.shape[1] - 1
    correction = torch.linalg.solve_ex(local, -change[:, :k, :, None])[0][..., 0] / scale
    # Of a head seen from the side, no displacement may lead there.
    correction = torch.where(correction.isfinite(), correction, 0.0)
    residual_flow = change[:, k:]
    if before is not None:
        correction = before.keypoint_correction + correction
        residual_flow = before.residual_flow + residual_flow
    correction = _within_reach(correction, reference.sigma, scale, reference.layout)
    residual_flow = residual_flow.clamp(-FURTHEST_RESIDUAL_FLOW, FURTHEST_RESIDUAL_FLOW)
    return Alignment(correction, residual_flow, _remaining(reference, flow, masks, change, frame))


def _normal_equations(share: Tensor, slope: Tensor, weight: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Curvature (B, 2U, 2U) and push (B, 2U) of the weighted squares of residuals.

    share     (B, U, N) how much of each unknown moves each place
    slope     (B, 2, N) of grey values, along x and y
    weight    (B, N)
    residual  (B, N)
    """
    b, size, _ = share.shape
    x, y = slope[:, 0], slope[:, 1]
    weighted = torch.stack([weight * x * x, weight * x * y, weight * y * y], 1)  # (B, 3, N)
    # One product of three times the rows takes less time than three.
    products = (weighted[:, :, None] * share[:, None]).flatten(1, 2) @ share.mT  # (B, 3U, U)
    xx, xy, yy = products.reshape(b, 3, size, size).unbind(1)
    curvature = torch.stack([torch.stack([xx, xy], 2), torch.stack([xy, yy], 2)], 1)  # (B, 2, U, 2, U)
    push = share @ (slope * (weight * residual)[:, None]).mT  # (B, U, 2)
    return curvature.reshape(b, 2 * size, 2 * size), push.mT.flatten(1)


def _remaining(reference: AlignmentReference, flow: Tensor, masks: Tensor, change: Tensor, frame: Tensor) -> Tensor:
    """Grey values (B, n, n) by which the source, moved by `flow` and `change` (B, U, 2), falls short of the frame."""
    height, width = flow.shape[2:]
    k = masks.shape[1] - 1
    around = _around_grid(height, width, flow.device)  # (1, 64, GG)
    moved = change[:, :k].mT @ masks[:, 1:].flatten(2) + change[:, k:].mT @ around  # (B, 2, GG)
    at = resize_flow((flow + moved.reshape(flow.shape)).permute(0, 2, 3, 1), frame.shape[-1] // height)
    inside = (at.abs() < 1).all(-1).flatten(1)
    residual = frame - warp(reference.planes[_FINE][:, :1], at)[:, 0]
    return _where(inside, _without_exposure(residual.flatten(1), inside)).reshape(frame.shape)


def _where(chosen: Tensor, values: Tensor) -> Tensor:
    """Values (B, ...) where `chosen`, of their leading shape, is true, else 0; also where they are no numbers."""
    return torch.where(chosen.reshape(*chosen.shape, *[1] * (values.ndim - chosen.ndim)), values, 0.0)


def _around(points: Tensor) -> Tensor:
    """How much each place of the residual flow grid moves points (B, N, 2): (B, 64, N), bilinear between them."""
    at = ((points + 1) / 2 * RESIDUAL_FLOW_SIDE - 0.5).clamp(0, RESIDUAL_FLOW_SIDE - 1)
    steps = torch.arange(RESIDUAL_FLOW_SIDE, device=points.device, dtype=points.dtype)
    share = (1 - (at[..., None] - steps).abs()).clamp(min=0)  # (B, N, 2, 8)
    return (share[:, :, 1, :, None] * share[:, :, 0, None, :]).flatten(2).mT


@cache
def _around_grid(height: int, width: int, device: torch.device) -> Tensor:
    """The same of every pixel of a picture: (1, 64, HW)."""
    return _around(pixel_grid(height, width, torch.empty(0, device=device)).reshape(1, -1, 2))


def _read(planes: Tensor, at: Tensor) -> Tensor:
    """Planes (B, C, n, n) at places (B, N, 2): (B, C, N)."""
    out: Tensor = F.grid_sample(planes, at[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return out


def _telling(grey: Tensor, behind: Tensor, count: int) -> Tensor:
    """Places (B, N, 2) in pictures (B, n, n): more where there is something to see, few of what is `behind`.

    behind  (B, 1, G, G) how surely a square of pixels is background
    count   N, at most
    """
    n = grey.shape[-1]
    slope_y, slope_x = torch.gradient(grey, dim=(1, 2))
    slope = slope_x.square() + slope_y.square()
    pattern = _pattern(n * n, grey.device)
    behind = F.interpolate(behind, size=(n, n))[:, 0]
    says = (1 - behind) * (slope + 1).sqrt()
    chosen = (says.flatten(1) * pattern).topk(min(count, n * n), 1).indices.sort(1).values  # (B, N), row by row
    # Not the middle of a pixel, where the finer picture would be blurred, but one of its quarters.
    quarter = torch.stack([chosen % 3 % 2, chosen % 5 % 2], -1) - 0.5  # (B, N, 2)
    return pixel_grid(n, n, grey).reshape(-1, 2)[chosen] + quarter / n


@cache
def _pattern(count: int, device: torch.device) -> Tensor:
    """Numbers of [0, 1) in place of chance: the same frame gives the same places."""
    index = torch.arange(count, device=device)
    return (index.double() * ((math.sqrt(5) - 1) / 2) % 1).float()


def _middle(values: Tensor, inside: Tensor) -> Tensor:
    """Median (B, 1) of those inside; 0 where there are none."""
    return torch.where(inside, values, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num()


def _without_exposure(residual: Tensor, inside: Tensor) -> Tensor:
    """Residuals (B, N) without what exposure has changed in all of them."""
    return residual - _middle(residual, inside)


def _spread(residual: Tensor, inside: Tensor) -> Tensor:
    """Robust standard deviation (B, 1) of residuals."""
    return (DEVIATIONS_PER_MEDIAN * _middle(residual.abs(), inside)).clamp(min=_NOISE)


def _weight(residual: Tensor, inside: Tensor, spread: Tensor) -> Tensor:
    """Robust weights (B, N), Tukey's, over the variance."""
    alike = _ALIKE * (THUMBNAIL // 2) ** 2 / residual.shape[1]
    return (1 - (residual / (TUKEY * spread)) ** 2).clamp(min=0) ** 2 * inside * (alike / spread**2)


def _badness(residual: Tensor, inside: Tensor, spread: Tensor) -> Tensor:
    """How badly the source fits, (B,): the mean square of the residuals, outliers bounded."""
    return torch.where(inside, (residual / spread).abs(), TUKEY).clamp(max=TUKEY).square().mean(1)


def keypoint_sigma(layout: KeypointLayout) -> Tensor:
    """One sigma of the extractor's error, (K,) crop units."""
    sigma = torch.full((layout.count,), _FREE)
    sigma[layout.face] = _OUTLINE
    sigma[list(FEATURES)] = _FEATURES
    return sigma


def _within_reach(correction: Tensor, sigma: Tensor, scale: Tensor, layout: KeypointLayout) -> Tensor:
    """Corrections (B, K, 2) in units of the head's scale (B, 1, 1), those of the head no longer than they may be."""
    reach = _FURTHEST * sigma
    reach[layout.body] = torch.inf
    length = scale[..., 0] * correction.norm(dim=-1)  # (B, K)
    out: Tensor = correction * (reach / length.clamp(min=1e-6)).clamp(max=1.0)[..., None]
    return out


def _precision(points: Tensor, sigma: Tensor) -> Tensor:
    """Inverse covariance (B, N, N) of errors with sigmas (N,) at `points` (B, N, 2): neighbours err alike."""
    near = torch.exp(-torch.cdist(points, points).square() / (2 * _BESIDE**2))
    alone = torch.eye(points.shape[1], device=points.device, dtype=points.dtype)
    covariance = sigma[:, None] * sigma * (_SHARED * near + (1 - _SHARED) * alone)  # (B, N, N)
    inverse: Tensor = torch.linalg.inv_ex(covariance)[0]
    return inverse


def _both(keypoints: Tensor, residual_flow: Tensor) -> Tensor:
    """Precision (B, 2U, 2U) of all unknowns, x of all, then y; of keypoints (B, K, K) and of residual flow (64, 64)."""
    count = len(keypoints)
    k, size = keypoints.shape[1], keypoints.shape[1] + len(residual_flow)
    out = keypoints.new_zeros(count, 2, size, 2, size)
    for axis in (0, 1):
        out[:, axis, :k, axis, :k], out[:, axis, k:, axis, k:] = keypoints, residual_flow
    return out.reshape(count, 2 * size, 2 * size)


def _local(keypoints: KeypointTransforms) -> Tensor:
    """How displacements of each keypoint in the driving frame become those in the source: (B, K, 2, 2)."""
    layout = keypoints.layout
    head = keypoints.local[:, None, :2, :2].expand(-1, layout.head_count, -1, -1)
    return torch.cat([head, keypoints.body_local[:, None, :2, :2].expand(-1, layout.body_count, -1, -1)], 1)
