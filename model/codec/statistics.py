"""What the codec knows about motion before a call: a basis for the deformation and how far each coefficient moves.

The deformation (the 3K values of the expression delta, the 128 of the residual flow) is rotated into its Karhunen-Loeve
basis, fitted within clips, so that few coefficients carry a talking face. Each coefficient, and each pose scalar, has a
unit (its quantiser step at step index 0) and a Laplace width per elapsed time, as an integer in quarter octaves, for
integers decide how bits are read. The arrays travel in the weights file under `codec.`: a model and its statistics
never part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.codec.entropy import MAX_WIDTH, laplace_cost
from model.codec.quantise import quantise
from model.errors import WeightsError

POSE_SCALARS = 11
"""Scalars before the deformation, in the order of `Motion.to_vector`: yaw, pitch, roll, scale, t_x, t_y, t_z, and x, y,
log size and roll of the background."""

RESIDUAL_FLOW_SCALARS = 128
"""Scalars of the residual flow, behind the expression."""

MAX_KEYPOINTS = 64
"""With more, one frame of the worst motion would not fit into a message."""

ELAPSED_MS = (25, 50, 90, 160, 280, 500, 900)
"""Upper bounds in milliseconds of the elapsed times that share a row of widths; the row after is for longer ones."""

INTRA = len(ELAPSED_MS) + 1
"""Row of widths of frames without a reference."""

WIDTH_ORIGIN = 20
"""Width index t stands for a Laplace width of 2^((t - 20) / 4) units (entropy.py)."""

_FIT_MS = (16.7, 40.0, 70.0, 120.0, 210.0, 375.0, 670.0, 1300.0)  # the elapsed time that stands for each row

_LARGEST_FITTED = 1000  # levels; larger residuals count as this one

_GROWTH = 0.6
_FEWEST_CLIPS = 0.25  # share of the clips that a row must be fitted from

_POSE_MEAN = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_POSE_UNITS = (0.5, 0.5, 0.5, 0.006, 0.006, 0.006, 0.006, 0.006, 0.006, 0.006, 0.35)
_BACKGROUND = slice(7, POSE_SCALARS)  # lies at zero while the camera stands still
_RESIDUAL_FLOW = slice(-RESIDUAL_FLOW_SCALARS, None)
_DEFORMATION_UNIT = 0.02  # of an orthonormal coefficient, crop units
_ARRAYS = ("mean", "importance", "basis", "units", "widths")


@dataclass(frozen=True)
class MotionStatistics:
    """Transform and widths of motion vectors with N = 139 + 3K scalars. Raises WeightsError when shapes disagree."""

    mean: NDArray[np.float32]  # (N,)      motion that an all-zero frame decodes to
    importance: NDArray[np.float32]  # (N - 11,)  perceptual weight of each value of the deformation, > 0
    basis: NDArray[np.float32]  # (N - 11, N - 11) orthonormal; column i is coefficient i, the strongest first
    units: NDArray[np.float32]  # (N,)      quantiser step at step index 0: degrees, 1, crop units
    widths: NDArray[np.int8]  # (9, N)    Laplace width index at step index 0, per row of elapsed time

    def __post_init__(self) -> None:
        size = self.size
        deformation = size - POSE_SCALARS
        shapes = {
            "mean": (size,),
            "importance": (deformation,),
            "basis": (deformation, deformation),
            "units": (size,),
            "widths": (INTRA + 1, size),
        }
        if not 1 <= self.keypoints <= MAX_KEYPOINTS or (deformation - RESIDUAL_FLOW_SCALARS) % 3:
            raise WeightsError(f"codec statistics are for {size} scalars, not 139 + 3K with K up to {MAX_KEYPOINTS}")
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise WeightsError(f"codec statistics: {name} has shape {array.shape}, not {shape}")
            if not np.isfinite(array).all():
                raise WeightsError(f"codec statistics: {name} holds values that are not finite")
        if (self.units <= 0).any() or (self.importance <= 0).any():
            raise WeightsError("codec statistics: units and importance must be positive")

    @property
    def size(self) -> int:
        """N, the scalars of a motion vector."""
        return int(self.mean.shape[0])

    @property
    def keypoints(self) -> int:
        """K, the number of keypoints."""
        return (self.size - POSE_SCALARS - RESIDUAL_FLOW_SCALARS) // 3

    def to_coefficients(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coefficients (..., N) in units of motion vectors (..., N)."""
        centred = np.asarray(vectors, np.float64) - self.mean
        deformation = (centred[..., POSE_SCALARS:] * self.importance) @ self._bases[0]
        return np.concatenate([centred[..., :POSE_SCALARS], deformation], -1) / self.units

    def to_vectors(self, coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
        """Motion vectors (..., N) of coefficients (..., N) in units: inverse of `to_coefficients`."""
        scaled = coefficients * self.units
        deformation = scaled[..., POSE_SCALARS:] @ self._bases[1] / self.importance
        centred = np.concatenate([scaled[..., :POSE_SCALARS], deformation], -1)
        return (centred + self.mean).astype(np.float32)

    @cached_property
    def _bases(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The basis and its transpose as a product of doubles takes them: converting for each frame takes three times
        as long as multiplying. Both contiguous, since the order of sums decides the last bit.
        """
        return np.ascontiguousarray(self.basis, np.float64), np.ascontiguousarray(self.basis.T, np.float64)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Flat arrays by name; the weights file stores them under `codec.`."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> MotionStatistics:
        """Inverse of `to_arrays`; other names are ignored. Raises WeightsError when one is missing or misshapen."""
        for name in _ARRAYS:
            if name not in arrays:
                raise WeightsError(f"the weights carry no codec statistics ({name} is missing)")
            if np.ndim(arrays[name]) == 0:
                raise WeightsError(f"codec statistics: {name} is a scalar")
        return MotionStatistics(
            mean=np.asarray(arrays["mean"], np.float32),
            importance=np.asarray(arrays["importance"], np.float32),
            basis=np.asarray(arrays["basis"], np.float32),
            units=np.asarray(arrays["units"], np.float32),
            widths=np.asarray(arrays["widths"], np.int8),
        )

    @staticmethod
    def default(keypoints: int) -> MotionStatistics:
        """Hand-set statistics for a model that has none yet: identity basis, widths of a mildly moving head."""
        pose = np.array([1.0, 1.0, 0.6, 0.5, 0.8, 0.8, 0.01, 0.3, 0.3, 0.1, 0.1])  # units in 40 ms
        size = 3 * keypoints + RESIDUAL_FLOW_SCALARS
        at_40_ms = np.concatenate([pose, np.full(size, 0.15)])
        growth = np.sqrt(np.minimum(np.array(_FIT_MS), 900.0) / 40.0)
        temporal = growth[:, None] * at_40_ms
        widths = np.concatenate([temporal, 2.5 * temporal[-1:]])
        return MotionStatistics(
            mean=np.concatenate([_POSE_MEAN, np.zeros(size)]).astype(np.float32),
            importance=np.ones(size, np.float32),
            basis=np.eye(size, dtype=np.float32),
            units=_units(size, 0.5 * _DEFORMATION_UNIT),
            widths=_width_indices(widths),
        )

    @staticmethod
    def fit(
        clips: Sequence[NDArray[np.floating]],
        frame_rates: Sequence[float],
        importance: NDArray[np.floating] | None = None,
    ) -> MotionStatistics:
        """Statistics of training motion: clips of (T, 139 + 3K) at their frames per second; every clip counts the same.

        `importance` (3K + 128,) weights the values of the deformation before the transform: 2 means half the
        quantisation error there.
        Raises ValueError without a clip of at least two frames.
        """
        usable = [(np.asarray(c, np.float64), f) for c, f in zip(clips, frame_rates, strict=True) if len(c) >= 2]
        if not usable:
            raise ValueError("codec statistics need at least one clip of two frames")
        mean = np.mean([clip.mean(0) for clip, _ in usable], 0)
        # What stands still, and where there is no residual flow, is to be decoded as that, and not as nearly that.
        mean[_BACKGROUND], mean[_RESIDUAL_FLOW] = 0.0, 0.0
        weight = np.ones(mean.size - POSE_SCALARS) if importance is None else np.asarray(importance, np.float64)
        deformations = [(clip[:, POSE_SCALARS:] - mean[POSE_SCALARS:]) * weight for clip, _ in usable]
        within = np.mean([np.cov(d.T, bias=True) for d in deformations], 0)
        total = np.mean([d.T @ d / len(d) for d in deformations], 0)
        # Within a clip is what costs bits; a little of the whole gives still directions a sensible order too.
        _, vectors = np.linalg.eigh(within + 0.02 * total)
        basis = vectors[:, ::-1]
        basis = basis * np.where(basis.sum(0) < 0, -1.0, 1.0)
        start = MotionStatistics(
            mean=mean.astype(np.float32),
            importance=weight.astype(np.float32),
            basis=np.ascontiguousarray(basis, np.float32),
            units=_units(weight.size, _DEFORMATION_UNIT),
            widths=np.zeros((INTRA + 1, mean.size), np.int8),
        )
        levels = [_levels_of(start.to_coefficients(clip)) for clip, _ in usable]
        temporal = _temporal_widths(levels, [rate for _, rate in usable])
        widths = np.concatenate([temporal, _likeliest_widths(levels)[None]])
        return MotionStatistics(start.mean, start.importance, start.basis, start.units, widths)


def elapsed_row(elapsed_ms: int) -> int:
    """Row of `MotionStatistics.widths` for a frame that lies `elapsed_ms` after its reference."""
    for row, bound in enumerate(ELAPSED_MS):
        if elapsed_ms <= bound:
            return row
    return len(ELAPSED_MS)


def _levels_of(coefficients: NDArray[np.float64]) -> NDArray[np.int64]:
    """Levels (T, N) at step index 0, near enough to those of an encoder, which needs the widths to choose them."""
    levels = [quantise(coefficients[0], 0)]
    for frame in coefficients[1:]:
        levels.append(quantise(frame, 0, levels[-1]))
    return np.stack(levels)


def _temporal_widths(levels: list[NDArray[np.int64]], frame_rates: list[float]) -> NDArray[np.int8]:
    """Rows of widths of level differences, one per elapsed time, (8, N).

    A row that few clips have frames for (training clips are often thinned out) is taken from the nearest one that many
    have, on the rule that motion grows with elapsed time to the power _GROWTH.
    """
    fitted: dict[int, tuple[float, NDArray[np.int8]]] = {}
    for row, wanted_ms in enumerate(_FIT_MS):
        residuals, elapsed = [], []
        for clip, rate in zip(levels, frame_rates, strict=True):
            lag = max(1, round(wanted_ms * rate / 1000.0))
            if lag < len(clip) and 0.7 < lag * 1000.0 / rate / wanted_ms < 1.4:
                residuals.append(clip[lag:] - clip[:-lag])
                elapsed.append(lag * 1000.0 / rate)
        if residuals and len(residuals) >= _FEWEST_CLIPS * len(levels):
            fitted[row] = (float(np.mean(elapsed)), _likeliest_widths(residuals))
    if not fitted:  # only clips of a few frames: any two neighbours will do
        pairs = [np.diff(clip, axis=0) for clip in levels]
        fitted[0] = (1000.0 / float(np.mean(frame_rates)), _likeliest_widths(pairs))
    rows = []
    for row, wanted_ms in enumerate(_FIT_MS):
        elapsed_ms, widths = fitted[min(fitted, key=lambda other: (abs(other - row), other))]
        shift = round(4 * _GROWTH * np.log2(wanted_ms / elapsed_ms))
        rows.append(np.clip(widths.astype(np.int64) + shift, 0, MAX_WIDTH))
    return np.stack(rows).astype(np.int8)


def _likeliest_widths(clips: list[NDArray[np.int64]]) -> NDArray[np.int8]:
    """Per coefficient the width index that codes these residuals (each (T, N)) in the fewest bits, (N,)."""
    size = clips[0].shape[1]
    chance = np.zeros((_LARGEST_FITTED + 1, size))
    for clip in clips:
        magnitudes = np.minimum(np.abs(clip), _LARGEST_FITTED) + np.arange(size) * (_LARGEST_FITTED + 1)
        counts = np.bincount(magnitudes.ravel(), minlength=chance.size)
        chance += counts.reshape(size, -1).T / (len(clip) * len(clips))
    # One imagined residual of 1 among a thousand: what never moved in training may still move in a call.
    chance[1] += 1e-3
    values, candidates = np.arange(_LARGEST_FITTED + 1), np.arange(MAX_WIDTH + 1)
    bits = laplace_cost(values, candidates[:, None]) + laplace_cost(-values, candidates[:, None])
    cost = bits @ chance
    widths: NDArray[np.int8] = np.argmin(cost, 0).astype(np.int8)
    return widths


def _width_indices(widths: NDArray[np.float64]) -> NDArray[np.int8]:
    """Width indices of Laplace widths in units."""
    indices = np.rint(WIDTH_ORIGIN + 4 * np.log2(np.maximum(widths, 1e-6)))
    clipped: NDArray[np.int8] = np.clip(indices, 0, MAX_WIDTH).astype(np.int8)
    return clipped


def _units(deformation_size: int, deformation_unit: float) -> NDArray[np.float32]:
    return np.concatenate([_POSE_UNITS, np.full(deformation_size, deformation_unit)]).astype(np.float32)
