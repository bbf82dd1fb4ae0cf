"""What a face says, read off true and decoded frames: mouth, lids, gaze and brows, by two instruments.

Of each feature over the frames of a clip: r, the correlation of decoded with true values, and the slope of decoded on
true ones (least squares). A face that says what the person says has 1 and 1; a damped one a slope below 1.

    mesh   MediaPipe's 478 landmarks from the teacher's process
    dlib   dlib's 68 points (Kazemi and Sullivan 2014), which drive nothing in visavis; they do not see gaze

Head pose does not enter: the mesh is turned to the front in three dimensions, the 68 points are laid upon the mean of
their own clip by the points that expression leaves in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluate.points68 import Points68
from model.motion import rotation_matrix
from model.teacher.decompose import EYE_DISTANCE, decompose
from model.teacher.landmarks import LandmarkSource

Values = Mapping[str, NDArray[np.float64]]
"""Of each feature one value a frame, (T,)."""

Expression = dict[str, dict[str, dict[str, float] | None]]
"""By instrument and feature `r` and `slope`; None where the feature does not move in the true frames."""

FEATURES = ("mouth_opening", "mouth_width", "lids", "gaze", "brows", "corners")
"""Distance of the inner lips, distance of the mouth's corners, distance of the lids, where the irises stand between the
corners of the eyes, height of the brows above the eyes, height of the mouth's corners above its middle."""

OF_THE_MOUTH = ("mouth_opening", "mouth_width", "corners")

LEAST_SPREAD = {
    "mouth_opening": 0.012,
    "mouth_width": 0.012,
    "lids": 0.006,
    "gaze": 0.035,
    "brows": 0.006,
    "corners": 0.006,
}
"""Standard deviation from which a feature moves in a clip, in units of the mean face's eye distance / .45; of gaze in
eye widths. Below, the instruments' own noise (a third to a half of it in a still face) would be what is compared."""

# MediaPipe's mesh: (outer corner, inner corner, upper lid, lower lid, iris), left of the picture first.
_MESH_EYES = ((33, 133, 159, 145, 468), (263, 362, 386, 374, 473))
_MESH_BROWS = ((105, 33, 133), (334, 263, 362), (107, 33, 133), (336, 263, 362))  # brow and its eye's corners
_MESH_LIPS = (13, 14)
_MESH_MOUTH = (61, 291)

# The 68 points: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67.
_RIGID_68 = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45)


def of_mesh(points: NDArray[np.float32]) -> Values:
    """Features of landmarks (T, 478, 3) in crop units."""
    pose = decompose(points)
    rotation = rotation_matrix(pose.yaw, pose.pitch, pose.roll)  # (T, 3, 3)
    # x = s R x_c + t, so rows of x_c are (x - t) R / s.
    front = (points - pose.translation[:, None]) @ rotation / pose.scale[:, None, None]

    def distance(a: int, b: int) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(front[:, a] - front[:, b], axis=-1), np.float64)

    gaze = []
    for outer, inner, _, _, iris in _MESH_EYES:
        left, right = (outer, inner) if outer == 33 else (inner, outer)
        width = front[:, right, 0] - front[:, left, 0]
        gaze.append((front[:, iris, 0] - (front[:, left, 0] + front[:, right, 0]) / 2) / width)
    brows = [(front[:, a, 1] + front[:, b, 1]) / 2 - front[:, brow, 1] for brow, a, b in _MESH_BROWS]
    lips = front[:, _MESH_LIPS, 1].mean(1)
    return {
        "mouth_opening": distance(*_MESH_LIPS),
        "mouth_width": distance(*_MESH_MOUTH),
        "lids": np.mean([distance(upper, lower) for _, _, upper, lower, _ in _MESH_EYES], 0),
        "gaze": np.mean(gaze, 0),
        "brows": np.mean(brows, 0),
        "corners": np.asarray(lips - front[:, _MESH_MOUTH, 1].mean(1), np.float64),
    }


def of_68(points: NDArray[np.float64], truth: NDArray[np.float64]) -> Values:
    """Features of dlib's points (T, 68, 2) in pixels, against those of the true frames, which give the mean face."""
    front = _upright(points, truth.mean(0))

    def distance(a: int, b: int) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(front[:, a] - front[:, b], axis=-1), np.float64)

    height = front[..., 1]
    eyes = height[:, [36, 39, 42, 45]].mean(1)
    return {
        "mouth_opening": (distance(61, 67) + distance(62, 66) + distance(63, 65)) / 3,
        "mouth_width": distance(48, 54),
        "lids": (distance(37, 41) + distance(38, 40) + distance(43, 47) + distance(44, 46)) / 4,
        "brows": eyes - height[:, 17:27].mean(1),
        "corners": height[:, [62, 66]].mean(1) - height[:, [48, 54]].mean(1),
    }


def _upright(points: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (T, 68, 2) laid upon the mean face (68, 2) by a similarity of their rigid points, in face units."""
    rigid = list(_RIGID_68)
    span = np.linalg.norm(mean[[36, 39]].mean(0) - mean[[42, 45]].mean(0)) / EYE_DISTANCE
    target = mean[rigid] - mean[rigid].mean(0)
    centred = points - points[:, rigid].mean(1, keepdims=True)
    own = centred[:, rigid]
    # The similarity in two dimensions as a complex factor (Umeyama 1991).
    a, b = own[..., 0] + 1j * own[..., 1], target[:, 0] + 1j * target[:, 1]
    factor = (a.conj() * b).sum(1) / np.maximum((np.abs(a) ** 2).sum(1), 1e-9)  # (T,)
    laid = (centred[..., 0] + 1j * centred[..., 1]) * factor[:, None] / span
    return np.stack([laid.real, laid.imag], -1)


def compare(
    truth: Values, decoded: Values, mouths: NDArray[np.bool_] | None = None
) -> dict[str, dict[str, float] | None]:
    """Of each feature `r` and `slope` of decoded on true values; None where it does not move in the true frames.

    mouths  (T,) which frames' mouths are seen: of the others those of the mouth are left out; None: all
    """
    compared: dict[str, dict[str, float] | None] = {}
    for name, true in truth.items():
        other = decoded[name]
        if mouths is not None and name in OF_THE_MOUTH:
            true, other = true[mouths], other[mouths]
        spread = float(true.std()) if len(true) else 0.0
        if len(true) < 3 or spread < LEAST_SPREAD[name]:
            compared[name] = None
            continue
        covariance = float(((true - true.mean()) * (other - other.mean())).mean())
        r = covariance / max(spread * float(other.std()), 1e-12)
        compared[name] = {"r": r, "slope": covariance / spread**2}
    return compared


class ExpressionTruth:
    """What the true frames of a clip say, and how far others say the same."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        mesh: LandmarkSource | None,
        points: Points68 | None,
        mouths: NDArray[np.bool_] | None = None,
    ) -> None:
        """An instrument that is missing is left out.

        frames  uint8 (T, S, S, 3), successive
        mouths  (T,) whose mouths are seen: what is read of a hand before one is no mouth; None: all
        """
        self._mouths = np.ones(len(frames), bool) if mouths is None else mouths
        self._mesh, self._points = mesh, points
        self._landmarks = None if mesh is None else mesh.landmarks(frames)
        self._boxes = None if points is None else points.boxes(frames)
        self._68 = None if points is None or self._boxes is None else points.points(frames, self._boxes)

    def read(self, frames: NDArray[np.uint8]) -> Expression:
        """Of decoded frames (T, S, S, 3), by instrument and feature: `compare`."""
        read: Expression = {}
        if self._mesh is not None and self._landmarks is not None:
            (true, present), (found, seen) = self._landmarks, self._mesh.landmarks(frames)
            both = present & seen
            if both.any():
                read["mesh"] = compare(of_mesh(true[both]), of_mesh(found[both]), self._mouths[both])
        if self._points is not None and self._68 is not None and self._boxes is not None:
            found68 = self._points.points(frames, self._boxes)
            read["dlib"] = compare(of_68(self._68, self._68), of_68(found68, self._68), self._mouths)
        return read


def mean_expression(clips: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float] | None]:
    """Mean r and slope of each feature over the clips in which it moves, and in how many that is."""
    means: dict[str, dict[str, float] | None] = {}
    for name in dict.fromkeys(name for clip in clips for name in clip):
        found = [clip[name] for clip in clips if clip.get(name) is not None]
        means[name] = None
        if found:
            means[name] = {key: float(np.mean([one[key] for one in found])) for key in ("r", "slope")}
            means[name] |= {"clips": len(found)}  # type: ignore[operator]
    return means
