"""Statistics and quantiser: transform, fit, error bound, integer rescaling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.codec.quantise import (
    DEAD_ZONE,
    MAX_LEVEL,
    MAX_STEP_INDEX,
    MIN_STEP_INDEX,
    dequantise,
    nearest_step_index,
    quantise,
    rescale,
    step_factor,
)
from model.codec.statistics import ELAPSED_MS, INTRA, POSE_SCALARS, RESIDUAL_FLOW_SCALARS, MotionStatistics, elapsed_row
from model.errors import WeightsError

steps = st.integers(MIN_STEP_INDEX, MAX_STEP_INDEX)


def walk(frames: int, keypoints: int, seed: int = 0) -> NDArray[np.float64]:
    """A head that wanders and a picture with three independent movements, (T, 139 + 3K)."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(3, 3 * keypoints + RESIDUAL_FLOW_SCALARS)) / np.sqrt(3 * keypoints)
    directions[:, 3 * keypoints :] *= 0.2
    hidden = generator.normal(size=(frames, 3)).cumsum(0) * 0.02
    pose = generator.normal(size=(frames, 11)).cumsum(0) * [
        0.3,
        0.3,
        0.2,
        0.001,
        0.003,
        0.003,
        0.0,
        0.002,
        0.002,
        0.0,
        0.0,
    ]
    pose[:, 3] += 1.0
    return np.concatenate([pose, hidden @ directions], 1)


@pytest.fixture(scope="module")
def fitted() -> MotionStatistics:
    return MotionStatistics.fit([walk(120, 5, seed) for seed in range(6)], [25.0] * 6)


def test_transform_is_inverted(fitted: MotionStatistics) -> None:
    vectors = walk(50, 5, 99).astype(np.float32)
    back = fitted.to_vectors(fitted.to_coefficients(vectors))
    np.testing.assert_allclose(back, vectors, atol=2e-5)


def test_fit_packs_the_deformation_into_few_coefficients(fitted: MotionStatistics) -> None:
    coefficients = fitted.to_coefficients(walk(200, 5, 3))[:, POSE_SCALARS:]
    energy = (coefficients**2).sum(0)
    assert energy[:6].sum() > 0.5 * energy.sum()
    np.testing.assert_allclose(fitted.basis.T @ fitted.basis, np.eye(15 + RESIDUAL_FLOW_SCALARS), atol=1e-5)


def test_an_unmoved_picture_is_decoded_as_exactly_that(fitted: MotionStatistics) -> None:
    decoded = fitted.to_vectors(np.zeros(fitted.size))
    np.testing.assert_array_equal(decoded[7:POSE_SCALARS], np.zeros(4, np.float32))
    np.testing.assert_array_equal(decoded[-RESIDUAL_FLOW_SCALARS:], np.zeros(RESIDUAL_FLOW_SCALARS, np.float32))
    assert decoded[3] == pytest.approx(1.0, abs=0.1)


def test_widths_grow_with_elapsed_time(fitted: MotionStatistics) -> None:
    pose = fitted.widths[:INTRA, :3].astype(int).mean(1)
    assert (np.diff(pose) >= 0).all()
    assert pose[-1] > pose[1] + 4


def test_fit_of_thinned_clips_agrees(fitted: MotionStatistics) -> None:
    thin = MotionStatistics.fit([walk(120, 5, seed)[::2] for seed in range(6)], [12.5] * 6)
    difference = thin.widths[1:INTRA, :3].astype(int) - fitted.widths[1:INTRA, :3]
    assert np.abs(difference).mean() < 3


def test_importance_halves_the_error_where_it_is_two() -> None:
    importance = np.ones(15 + RESIDUAL_FLOW_SCALARS)
    importance[:3] = 2.0
    statistics = MotionStatistics.fit([walk(100, 5)], [25.0], importance)
    generator = np.random.default_rng(0)
    noise = generator.uniform(-0.5, 0.5, size=(500, statistics.size))
    error = np.abs(statistics.to_vectors(noise) - statistics.to_vectors(noise * 0))[:, POSE_SCALARS:].mean(0)
    assert error[:3].mean() == pytest.approx(error[3:].mean() / 2, rel=0.1)


def test_arrays_round_trip(fitted: MotionStatistics) -> None:
    again = MotionStatistics.from_arrays({**fitted.to_arrays(), "other": np.zeros(3)})
    for name, array in fitted.to_arrays().items():
        np.testing.assert_array_equal(array, again.to_arrays()[name])


@pytest.mark.parametrize("name", ["mean", "importance", "basis", "units", "widths"])
def test_broken_arrays_are_refused(fitted: MotionStatistics, name: str) -> None:
    arrays = fitted.to_arrays()
    for broken in (arrays[name][:-1], np.array(1.0)):
        with pytest.raises(WeightsError):
            MotionStatistics.from_arrays({**arrays, name: broken})
    with pytest.raises(WeightsError):
        MotionStatistics.from_arrays({k: v for k, v in arrays.items() if k != name})
    if name != "widths":
        with pytest.raises(WeightsError):
            MotionStatistics.from_arrays({**arrays, name: np.full_like(arrays[name], np.nan)})


def test_default_fits_any_number_of_keypoints() -> None:
    for keypoints in (1, 21, 36, 64):
        assert MotionStatistics.default(keypoints).keypoints == keypoints
    with pytest.raises(WeightsError):
        MotionStatistics.default(65)


def test_fit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        MotionStatistics.fit([np.zeros((1, 13))], [25.0])


def test_elapsed_rows() -> None:
    assert elapsed_row(0) == 0
    assert [elapsed_row(bound) for bound in ELAPSED_MS] == list(range(len(ELAPSED_MS)))
    assert elapsed_row(0xFFFFFFFF) == INTRA - 1


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=20), steps, st.integers(0, 2**32 - 1))
def test_quantiser_error_is_bounded(values: list[float], step: int, seed: int) -> None:
    coefficients = np.array(values)
    anchor = np.rint(coefficients / step_factor(step)).astype(np.int64)
    anchor += np.random.default_rng(seed).integers(-1, 2, anchor.shape)
    levels = quantise(coefficients, step, anchor)
    assert np.abs(dequantise(levels, step) - coefficients).max() <= (DEAD_ZONE + 1e-9) * step_factor(step)


def test_levels_are_clipped() -> None:
    assert quantise(np.array([1e12, -1e12]), MIN_STEP_INDEX).tolist() == [MAX_LEVEL, -MAX_LEVEL]


@given(st.integers(-MAX_LEVEL, MAX_LEVEL), steps, steps)
def test_rescale_agrees_with_arithmetic(level: int, from_index: int, to_index: int) -> None:
    scaled = int(rescale(np.array([level]), from_index, to_index)[0])
    exact = min(abs(level) * 2.0 ** ((from_index - to_index) / 4), MAX_LEVEL)
    assert abs(abs(scaled) - exact) <= 0.5 + 1e-5 * exact
    assert scaled * level >= 0


def test_nearest_step_index() -> None:
    assert [nearest_step_index(f) for f in (1.0, 2.0, 0.5, 1e-9, 1e9)] == [0, 4, -4, MIN_STEP_INDEX, MAX_STEP_INDEX]
