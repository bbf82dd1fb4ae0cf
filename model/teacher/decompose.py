"""Teacher landmarks to head pose: similarity Procrustes against the mean face, and how that mean face is made.

x = s R x_c + t with the convention of `model.motion`, solved on the points of the face that speech and expression
leave in place (Umeyama 1991). What the rigid motion does not explain is the expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats
from model.motion import angles

# Points of MediaPipe's mesh: forehead and bridge of the nose on the midline, then pairs (right, left) of eye corners,
# hairline, temples and cheekbones.
_MIDLINE = (10, 151, 9, 8, 168, 6, 197, 195)
_PAIRS: tuple[tuple[int, int], ...] = (
    *((33, 263), (133, 362), (109, 338), (67, 297), (103, 332), (54, 284), (21, 251), (162, 389), (127, 356)),
    *((234, 454), (116, 345), (123, 352), (122, 351)),
)
RIGID = np.array([*_MIDLINE, *(i for pair in _PAIRS for i in pair)])
_RIGID_MIRRORED = np.array([*_MIDLINE, *(i for pair in _PAIRS for i in pair[::-1])])
FOREHEAD, CHIN, RIGHT_IRIS, LEFT_IRIS = 10, 152, 468, 473
EYE_DISTANCE = 0.45
"""Distance of the iris centres of the mean face: the unit of the mean face and so of `scale`."""

FACE_SHAPE = Path(__file__).with_name("face_shape.npz")


@dataclass(frozen=True)
class HeadPose:
    """Rigid head motion of T frames: x = scale R(yaw, pitch, roll) x_c + translation."""

    yaw: Floats  # (T,) degrees
    pitch: Floats  # (T,) degrees
    roll: Floats  # (T,) degrees
    scale: Floats  # (T,) 1 = the mean face's own size
    translation: Floats  # (T, 3) crop units
    residual: Floats  # (T,) root mean square over the rigid points, as a share of the eye distance

    def to_array(self) -> Floats:
        """(T, 6): yaw, pitch, roll, scale, t_x, t_y, the columns of `pose` in prepared data."""
        return np.stack(
            [self.yaw, self.pitch, self.roll, self.scale, self.translation[:, 0], self.translation[:, 1]], -1
        ).astype(np.float32)


@lru_cache(maxsize=1)
def face_shape() -> Floats:
    """The mean face, float32 (478, 3): neutral, frontal, mirror-symmetric, eye distance 0.45, origin amid RIGID."""
    with np.load(FACE_SHAPE) as data:
        return np.asarray(data["points"], np.float32)


def decompose(points: Floats, shape: Floats | None = None) -> HeadPose:
    """Head pose of landmarks (T, 478, 3) in crop units against the mean face `shape` (478, 3)."""
    reference = face_shape() if shape is None else shape
    scale, rotation, translation = _similarity(reference[RIGID], points[:, RIGID])
    fitted = scale[:, None, None] * (reference[RIGID] @ rotation.swapaxes(-1, -2)) + translation[:, None]
    error = np.sqrt(((points[:, RIGID] - fitted) ** 2).sum(-1).mean(-1)) / (scale * EYE_DISTANCE)
    yaw, pitch, roll = angles(rotation)
    parts = (yaw, pitch, roll, scale, translation, error)
    return HeadPose(*(np.asarray(a, np.float32) for a in parts))


def fit_face_shape(people: list[Floats], rounds: int = 8) -> Floats:
    """Mean face of several people by generalised Procrustes (Gower 1975), made mirror-symmetric.

    people   per person landmarks (T, 478, 3), T >= 1, of any pose; each person counts the same.
    Returns  float32 (478, 3) as `face_shape` describes.
    """
    mean = np.asarray(people[0][0], np.float64)
    for _ in range(rounds):
        mean = _normalise(np.mean([_aligned(np.asarray(p, np.float64), mean).mean(0) for p in people], 0))
        mean = _symmetric(mean)
    return _normalise(mean).astype(np.float32)


def _aligned(points: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Landmarks (T, 478, 3) moved, turned and scaled onto `reference` by their rigid points."""
    scale, rotation, translation = _similarity(reference[RIGID], points[:, RIGID])
    return np.asarray((points - translation[:, None]) @ rotation / scale[:, None, None])


def _symmetric(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shape turned so that its mirror plane is x = 0, and averaged with its mirror image."""
    mirror = np.array([-1.0, 1.0, 1.0])
    halfway = shape.copy()
    for _ in range(30):  # each round halves the angle between the shape's mirror plane and x = 0
        halfway[RIGID] = (shape[RIGID] + shape[_RIGID_MIRRORED] * mirror) / 2
        shape = _aligned(shape[None], halfway)[0]
    return np.asarray((shape + shape[mirror_pairs(shape)] * mirror) / 2)


def mirror_pairs(shape: Floats | NDArray[np.float64]) -> NDArray[np.intp]:
    """For every landmark of a near-symmetric frontal shape (478, 3) the index of its partner across the face."""
    return _mirror_pairs(np.asarray(shape, np.float64).tobytes())


@lru_cache(maxsize=4)
def _mirror_pairs(data: bytes) -> NDArray[np.intp]:
    from scipy.optimize import linear_sum_assignment

    shape = np.frombuffer(data, np.float64).reshape(-1, 3)
    mirrored = shape * np.array([-1.0, 1.0, 1.0])
    cost = ((shape[:, None] - mirrored[None]) ** 2).sum(-1)
    return np.asarray(linear_sum_assignment(cost + cost.T)[1], np.intp)


def _normalise(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Origin amid the rigid points, forehead and chin at one depth, irises EYE_DISTANCE apart."""
    shape = shape - shape[RIGID].mean(0)
    axis = shape[CHIN] - shape[FOREHEAD]
    angle = np.arctan2(axis[2], axis[1])
    c, s = np.cos(angle), np.sin(angle)
    shape = shape @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]).T
    return np.asarray(shape * (EYE_DISTANCE / np.linalg.norm(shape[LEFT_IRIS] - shape[RIGHT_IRIS])))


def _similarity(
    source: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares s (T,), R (T, 3, 3), t (T, 3) with target (T, N, 3) = s source (N, 3) R^T + t (Umeyama 1991)."""
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    a = source - source.mean(0)
    centre = target.mean(1)
    b = target - centre[:, None]
    u, d, vt = np.linalg.svd(np.swapaxes(b, 1, 2) @ a)
    sign = np.ones_like(d)
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (d * sign).sum(-1) / (a**2).sum()
    scale = np.maximum(scale, 1e-9)
    translation = centre - scale[:, None] * (rotation @ source.mean(0))
    return scale, rotation, translation
