"""Motion algebra: how a head moves in visavis, and the one definition of its convention.

Axes       Image space: x to the right, y down, z away from the viewer (right-handed), in units where the square
           crop spans [-1, 1] in x and y. Pixel i of n lies at (2 i + 1) / n - 1 (grid_sample's align_corners=False).
Angles     Degrees. yaw > 0 turns the face to the right of the image, pitch > 0 looks up, roll > 0 tilts clockwise.
Rotation   R = Z(roll) Y(yaw) X(pitch), applied to column vectors.
Keypoints  x = s (R x_c + delta) + t   (arXiv 2011.15126 eq. 2-3 with LivePortrait's scale); projection drops z.
Free view  R <- R_u R and t <- t_u + t (arXiv 2011.15126, section 3.3); `turn_head` for a head on a neck.
Background b = e^z Z(roll) q + (x, y) is where the background point q of a reference frame lies: not of the paper, whose
           cameras stand still.
Residual   flow: by how much further away a picture's content comes from than keypoints and background say, on a grid of
           8 x 8 places; not of the paper either.

Every function accepts NumPy arrays (the wire side) or torch tensors (the networks), with any leading batch shape.
Whoever has arrays alone need not load torch: it is imported where a tensor is seen or asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.keypoint_layout import KeypointLayout

if TYPE_CHECKING:
    import torch

Array: TypeAlias = Any
"""A NumPy array or a torch tensor; all arrays of one call are of one kind."""

POSE_SCALARS = 11
"""Scalars in front of the expression in `Motion.to_vector`: yaw, pitch, roll, scale, t_x, t_y, t_z, and the four of the
background: x, y, log size, roll."""

RESIDUAL_FLOW_SIDE = 8
"""Side of the residual flow grid; place (i, j) of it, row by row, is the centre of a square of the picture."""

RESIDUAL_FLOW_PLACES = RESIDUAL_FLOW_SIDE * RESIDUAL_FLOW_SIDE

RESIDUAL_FLOW_SCALARS = 2 * RESIDUAL_FLOW_PLACES
"""Scalars behind the expression in `Motion.to_vector`: x and y of each place of the residual flow grid."""


def _is_array(x: Array) -> bool:
    """Whether it is NumPy's, a scalar too; else it is a tensor."""
    return isinstance(x, np.ndarray | np.generic | float | int)


def _namespace(x: Array) -> Any:
    if _is_array(x):
        return np
    import torch

    return torch


@dataclass(frozen=True)
class Motion:
    """Head pose and expression of one frame or a batch of frames.

    Leading shape `...` is the same for all fields.
    """

    yaw: Array  # (...)       degrees
    pitch: Array  # (...)     degrees
    roll: Array  # (...)      degrees
    translation: Array  # (..., 3)   crop units
    scale: Array  # (...)     1 = the size at which canonical keypoints are drawn
    expression: Array  # (..., K, 3) deformation delta of each keypoint, crop units at scale 1
    background: Array = None  # (..., 4) where the background lies: x, y (crop units), log size, roll; None: unmoved
    residual_flow: Array = None  # (..., 64, 2) crop units, of source coordinates; None: none

    def __post_init__(self) -> None:
        xp = _namespace(self.translation)
        if self.background is None:
            still = xp.zeros_like(self.translation[..., :1])
            object.__setattr__(self, "background", xp.concatenate([still] * 4, -1))
        if self.residual_flow is None:
            still = xp.zeros_like(self.translation[..., None, :2])
            object.__setattr__(self, "residual_flow", xp.concatenate([still] * RESIDUAL_FLOW_PLACES, -2))

    @property
    def keypoints(self) -> int:
        """K, the number of keypoints."""
        return int(self.expression.shape[-2])

    def map(self, change: Callable[[Array], Array]) -> Motion:
        """The motion with `change` applied to each field."""
        return Motion(*(change(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, index: Any) -> Motion:
        """Index the leading (batch) dimensions, as of an array."""
        return self.map(lambda x: x[index])

    def __len__(self) -> int:
        return int(self.yaw.shape[0])

    @staticmethod
    def stack(motions: Sequence[Motion]) -> Motion:
        """N motions of one batch shape (...) as one of batch shape (N, ...)."""
        return _joined(motions, _namespace(motions[0].translation).stack)

    @staticmethod
    def concatenate(motions: Sequence[Motion]) -> Motion:
        """Motions of batch shapes (N_i, ...) one behind the other, (sum of N_i, ...)."""
        return _joined(motions, _namespace(motions[0].translation).concatenate)

    def flat(self) -> Array:
        """Wire order (..., 139 + 3K) as `to_vector` has it; keeps the array kind of the fields."""
        xp = _namespace(self.translation)
        pose = xp.stack([self.yaw, self.pitch, self.roll, self.scale], -1)
        rows = [x.reshape(*x.shape[:-2], -1) for x in (self.expression, self.residual_flow)]
        return xp.concatenate([pose, self.translation, self.background, *rows], -1)

    def to_vector(self) -> NDArray[np.float32]:
        """Flat wire order (..., 139 + 3K): yaw, pitch, roll, scale, t_x, t_y, t_z, the background's x, y, log size and
        roll, then delta keypoint by keypoint, then the residual flow place by place.
        """
        return _to_numpy(self.flat())

    @staticmethod
    def from_vector(vector: Array) -> Motion:
        """Inverse of `to_vector`; keeps the array kind of its argument.

        Raises ValueError when the last dimension is not 139 + 3K with K >= 1.
        """
        size = vector.shape[-1]
        if size <= POSE_SCALARS + RESIDUAL_FLOW_SCALARS or (size - POSE_SCALARS - RESIDUAL_FLOW_SCALARS) % 3:
            raise ValueError(f"a motion vector has {POSE_SCALARS + RESIDUAL_FLOW_SCALARS} + 3K scalars, not {size}")
        return Motion(
            yaw=vector[..., 0],
            pitch=vector[..., 1],
            roll=vector[..., 2],
            scale=vector[..., 3],
            translation=vector[..., 4:7],
            background=vector[..., 7:POSE_SCALARS],
            expression=vector[..., POSE_SCALARS:-RESIDUAL_FLOW_SCALARS].reshape(*vector.shape[:-1], -1, 3),
            residual_flow=vector[..., -RESIDUAL_FLOW_SCALARS:].reshape(*vector.shape[:-1], RESIDUAL_FLOW_PLACES, 2),
        )

    def to_torch(self, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Motion:
        """The same motion as torch tensors on `device`; float32 unless another type is named."""
        import torch

        return self.map(lambda x: torch.as_tensor(x, device=device, dtype=dtype or torch.float32))

    def to_numpy(self) -> Motion:
        """The same motion as NumPy arrays, float32."""
        return self.map(_to_numpy)


def _joined(motions: Sequence[Motion], join: Callable[[list[Array]], Array]) -> Motion:
    return Motion(*(join([getattr(motion, field.name) for motion in motions]) for field in fields(Motion)))


@dataclass(frozen=True)
class CanonicalKeypoints:
    """Keypoints of a person in neutral pose and expression (arXiv 2011.15126, section 3.1)."""

    points: Array  # (..., K, 3)
    jacobians: Array | None = None  # (..., K, 3, 3), only with learned Jacobians (the paper's first version)


@dataclass(frozen=True)
class View:
    """Free view that a viewer asks for: an extra rotation in degrees and an extra translation in crop units."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        return self == View()

    def turned_further(self, gain: float) -> View:
        """The view whose yaw and pitch are `gain` times as large."""
        return View(self.yaw * gain, self.pitch * gain, self.roll, self.translation)


def rotation_matrix(yaw: Array, pitch: Array, roll: Array) -> Array:
    """R = Z(roll) Y(yaw) X(pitch) of angles in degrees with shape (...); returns (..., 3, 3)."""
    xp = _namespace(yaw)
    y, p, r = xp.deg2rad(yaw), xp.deg2rad(pitch), xp.deg2rad(roll)
    cy, sy, cp, sp, cr, sr = xp.cos(y), xp.sin(y), xp.cos(p), xp.sin(p), xp.cos(r), xp.sin(r)
    rows = [
        [cr * cy, -sr * cp + cr * sy * sp, -sr * sp - cr * sy * cp],
        [sr * cy, cr * cp + sr * sy * sp, cr * sp - sr * sy * cp],
        [sy, -cy * sp, cy * cp],
    ]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def angles(rotation: Array) -> tuple[Array, Array, Array]:
    """(yaw, pitch, roll) in degrees of rotation matrices (..., 3, 3); inverse of `rotation_matrix` for |yaw| < 90."""
    xp = _namespace(rotation)
    yaw = xp.arcsin(xp.clip(rotation[..., 2, 0], -1.0, 1.0))
    pitch = xp.arctan2(-rotation[..., 2, 1], rotation[..., 2, 2])
    roll = xp.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return xp.rad2deg(yaw), xp.rad2deg(pitch), xp.rad2deg(roll)


def compose(canonical: CanonicalKeypoints, motion: Motion) -> Array:
    """Keypoints in image space: x = s (R x_c + delta) + t, shape (..., K, 3)."""
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    rotated = canonical.points @ _transpose(rotation)
    return motion.scale[..., None, None] * (rotated + motion.expression) + motion.translation[..., None, :]


def relative_jacobians(canonical: CanonicalKeypoints, motion: Motion) -> Array:
    """Local map at each keypoint, (..., K, 3, 3): R J_c with learned Jacobians (arXiv 2011.15126 v1), else R (v3)."""
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)[..., None, :, :]
    if canonical.jacobians is None:
        xp = _namespace(rotation)
        shape = (*canonical.points.shape[:-1], 3, 3)
        return xp.broadcast_to(rotation, shape)
    return rotation @ canonical.jacobians


def apply_view(motion: Motion, view: View) -> Motion:
    """Free view: R <- R_u R, t <- t_u + t. The expression stays; the identity view returns `motion` itself."""
    if view.is_identity:
        return motion
    rotation = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    turn = rotation_matrix(
        *(_like(rotation, np.float32(a)) for a in (view.yaw, view.pitch, view.roll)),
    )
    yaw, pitch, roll = angles(turn @ rotation)
    translation = motion.translation + _like(motion.translation, np.asarray(view.translation, np.float32))
    return replace(motion, yaw=yaw, pitch=pitch, roll=roll, translation=translation)


def turn_head(motion: Motion, view: View, pivot: Sequence[float], layout: KeypointLayout) -> Motion:
    """Free view of a head on a neck: it turns about `pivot` c, canonical, expression and all, and the body stays.

    `apply_view` turns it about the canonical origin, which lies in the face: hair and neck would swing from the body.
    So t <- t_u + t + s (R c - R_u R c), and of the head's keypoints delta <- R_u delta.
    """
    if view.is_identity:
        return motion
    seen = apply_view(motion, view)
    before, after = (rotation_matrix(m.yaw, m.pitch, m.roll) for m in (motion, seen))
    c = _like(before, np.asarray(pivot, np.float32))
    shift = (before - after) @ c  # (..., 3) at scale 1
    head = motion.expression[..., layout.head, :] @ _transpose(after @ _transpose(before))
    body = motion.expression[..., layout.body, :] - shift[..., None, :]
    expression = _namespace(head).concatenate([head, body], -2)
    translation = seen.translation + motion.scale[..., None] * shift
    return replace(seen, expression=expression, translation=translation)


def interpolate(a: Motion, b: Motion, weight: float) -> Motion:
    """Motion at `weight` in [0, 1] from `a` to `b`: linear in every field, angles the short way round."""

    def turn(x: Array, y: Array) -> Array:
        return x + weight * ((y - x + 180.0) % 360.0 - 180.0)

    def line(x: Array, y: Array) -> Array:
        return x + weight * (y - x)

    return Motion(
        yaw=turn(a.yaw, b.yaw),
        pitch=turn(a.pitch, b.pitch),
        roll=turn(a.roll, b.roll),
        translation=line(a.translation, b.translation),
        scale=line(a.scale, b.scale),
        expression=line(a.expression, b.expression),
        background=line(a.background, b.background),
        residual_flow=line(a.residual_flow, b.residual_flow),
    )


def transfer(driving: Motion, reference: Motion, source: Motion) -> Motion:
    """Motion that moves another person's `source` as `driving` has moved since `reference` (an avatar).

    Head rotation is absolute, so that the avatar looks where the driver looks; size, place and expression are relative,
    because they carry the driver's identity. Background and residual flow are the picture's and stay.
    """
    return Motion(
        yaw=driving.yaw,
        pitch=driving.pitch,
        roll=driving.roll,
        translation=source.translation + (driving.translation - reference.translation),
        scale=source.scale * (driving.scale / reference.scale),
        expression=source.expression + (driving.expression - reference.expression),
        background=source.background + 0 * driving.background,  # of the driver's batch shape
        residual_flow=source.residual_flow + 0 * driving.residual_flow,
    )


def distance(canonical: CanonicalKeypoints, a: Motion, b: Motion) -> Array:
    """Mean distance in crop units between the projected keypoints of two motions of one person, shape (...)."""
    gap = compose(canonical, a)[..., :2] - compose(canonical, b)[..., :2]
    return ((gap**2).sum(-1) ** 0.5).mean(-1)


def background_since(now: Array, then: Array) -> Array:
    """Where the background lies at place `now` that lay unmoved at place `then`, both (..., 4): now o then^-1.

    For a source image at `then` and a driving frame at `now`; the other way round it says where driving pixels come
    from.
    """
    xp = _namespace(now)
    size, roll = now[..., 2] - then[..., 2], now[..., 3] - then[..., 3]
    turned = xp.stack(turned_and_sized(then[..., 0], then[..., 1], size, roll), -1)
    return xp.concatenate([now[..., :2] - turned, xp.stack([size, roll], -1)], -1)


def turned_and_sized(x: Array, y: Array, size: Array, roll: Array) -> tuple[Array, Array]:
    """e^size Z(roll) (x, y) of arrays of one shape."""
    xp = _namespace(roll)
    angle, factor = xp.deg2rad(roll), xp.exp(size)
    c, s = factor * xp.cos(angle), factor * xp.sin(angle)
    return c * x - s * y, s * x + c * y


def _transpose(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2) if _is_array(matrix) else matrix.mT


def _like(reference: Array, value: Any) -> Array:
    if _is_array(reference):
        return np.asarray(value, reference.dtype)
    return _namespace(reference).as_tensor(value, dtype=reference.dtype, device=reference.device)


def _to_numpy(x: Array) -> NDArray[np.float32]:
    return np.asarray(x, np.float32) if _is_array(x) else x.detach().cpu().float().numpy()
