"""Expression read off frames: how far decoded features follow the true ones, whatever the head's pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.evaluate.expression import (
    FEATURES,
    LEAST_SPREAD,
    OF_THE_MOUTH,
    ExpressionTruth,
    Values,
    compare,
    mean_expression,
    of_68,
    of_mesh,
)
from model.motion import rotation_matrix
from model.teacher.decompose import face_shape

T = 20
PHASE = np.sin(2 * np.pi * np.arange(T) / T)


def features(size: float) -> Values:
    """Each feature moves by `size` times twice what it must to count."""
    return {name: 0.3 + size * 2 * LEAST_SPREAD[name] * np.sqrt(2) * PHASE for name in FEATURES}


def points68(seed: int = 0) -> NDArray[np.float64]:
    """(T, 68, 2): some face in pixels whose inner lips open and close."""
    random = np.random.default_rng(seed)
    points = np.repeat(random.uniform(60, 190, (1, 68, 2)), T, 0)
    points[:, [36, 39]], points[:, [42, 45]] = [[90, 110], [110, 110]], [[140, 110], [160, 110]]
    points[:, [65, 66, 67], 1] += 6 * PHASE[:, None]
    return points


def test_halved_motion_has_half_the_slope_and_follows_wholly() -> None:
    compared = compare(features(1.0), features(0.5))
    assert set(compared) == set(FEATURES)
    for read in compared.values():
        assert read == pytest.approx({"r": 1.0, "slope": 0.5})
    for read in compare(features(1.0), features(-1.0)).values():
        assert read == pytest.approx({"r": -1.0, "slope": -1.0})


def test_a_frozen_face_follows_nothing() -> None:
    for read in compare(features(1.0), features(0.0)).values():
        assert read == pytest.approx({"r": 0.0, "slope": 0.0}, abs=1e-6)


def test_noise_lowers_the_correlation_and_not_the_slope() -> None:
    true, random = features(1.0), np.random.default_rng(0)
    noise = random.normal(size=T)
    noise -= PHASE * (noise @ PHASE) / (PHASE @ PHASE)  # of no share in the true motion
    noise -= noise.mean()
    decoded = {name: value + 2 * LEAST_SPREAD[name] * noise for name, value in true.items()}
    for read in compare(true, decoded).values():
        assert read is not None
        assert read["slope"] == pytest.approx(1.0, abs=0.05)
        assert 0.5 < read["r"] < 0.9


def test_what_stands_still_or_is_seen_twice_only_is_not_read() -> None:
    assert set(compare(features(0.4), features(1.0)).values()) == {None}  # 0.8 of what counts
    short = {name: value[:2] for name, value in features(1.0).items()}
    assert set(compare(short, short).values()) == {None}


def test_a_mouth_behind_a_hand_is_not_read() -> None:
    true, decoded, mouths = features(1.0), features(1.0), np.arange(T) >= 6
    for value in decoded.values():
        value[:6] += 1.0
    read = compare(true, decoded, mouths)
    for name in FEATURES:
        assert (read[name] == pytest.approx({"r": 1.0, "slope": 1.0})) == (name in OF_THE_MOUTH)
    covered = compare(true, decoded, np.zeros(T, bool))
    assert {name for name, one in covered.items() if one is None} == set(OF_THE_MOUTH)


@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(0.5, 2), st.floats(-45, 45))
def test_shift_size_and_tilt_do_not_enter_the_68_points(x: float, y: float, size: float, tilt: float) -> None:
    points = points68()
    angle = np.radians(tilt)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points @ turn.T + np.array([x, y])
    true, seen = of_68(points, points), of_68(moved, points)
    for name in true:
        np.testing.assert_allclose(seen[name], true[name], atol=1e-6)


def test_the_68_points_see_the_mouth_open_and_nothing_else_move() -> None:
    values = of_68(points68(), points68())
    assert "gaze" not in values
    assert {name for name, value in values.items() if value.std() > 1e-9} == {"mouth_opening", "corners"}
    assert abs(np.corrcoef(values["mouth_opening"], PHASE)[0, 1]) > 0.99


def test_head_pose_does_not_enter_the_mesh() -> None:
    mean = face_shape()
    random = np.random.default_rng(0)
    yaw, pitch, roll = random.uniform(-30, 30, (3, T)).astype(np.float32)
    scale = random.uniform(0.5, 0.9, (T, 1, 1))
    turned = scale * (mean @ rotation_matrix(yaw, pitch, roll).swapaxes(-1, -2)) + random.normal(0, 0.2, (T, 1, 3))
    values = of_mesh(turned.astype(np.float32))
    assert set(values) == set(FEATURES)
    for value in values.values():
        assert np.ptp(value) < 1e-4


def test_the_mesh_sees_each_feature_move() -> None:
    mean = np.repeat(face_shape()[None], 2, 0)

    def change(indices: list[int], axis: int, by: float) -> set[str]:
        """Features that differ when landmarks move, and grow with it."""
        moved = mean.copy()
        moved[1, indices, axis] += by
        return {name for name, value in of_mesh(moved).items() if value[1] - value[0] > 0.003}

    assert change([14], 1, 0.05) == {"mouth_opening", "corners"}
    assert change([291], 0, 0.05) == {"mouth_width"}
    assert change([145, 374], 1, 0.02) == {"lids"}
    assert change([468, 473], 0, 0.02) == {"gaze"}
    assert change([105, 334], 1, -0.03) == {"brows"}
    assert change([61, 291], 1, -0.02) == {"corners"}


def test_an_instrument_that_is_missing_is_left_out() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    assert ExpressionTruth(frames, None, None).read(frames) == {}

    class Mesh:
        def landmarks(
            self, frames: NDArray[np.uint8], tracking: bool = True
        ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            points = np.repeat(0.7 * face_shape()[None], len(frames), 0)
            points[:, 14, 1] += frames[:, 0, 0, 0] / 1000
            return points.astype(np.float32), frames[:, 0, 0, 1] == 0

    true = np.zeros((6, 8, 8, 3), np.uint8)
    true[:, 0, 0, 0] = [0, 40, 80, 80, 40, 0]
    decoded = true // 2
    decoded[2, 0, 0, 1] = 1  # no face in this frame
    read = ExpressionTruth(true, Mesh(), None).read(decoded)
    assert set(read) == {"mesh"}
    assert read["mesh"]["gaze"] is None
    opening = read["mesh"]["mouth_opening"]
    assert opening == pytest.approx({"r": 1.0, "slope": 0.5}, abs=0.01)  # lips that also differ in depth
    nobody = np.ones_like(decoded)
    assert ExpressionTruth(true, Mesh(), None).read(nobody) == {}


def test_means_are_over_the_clips_in_which_a_feature_moves() -> None:
    clips: list[dict[str, dict[str, float] | None]] = [
        {"lids": {"r": 0.5, "slope": 0.2}, "gaze": None},
        {"lids": {"r": 1.0, "slope": 0.6}, "gaze": None},
        {"lids": None},
    ]
    means = mean_expression(clips)
    assert means["lids"] == pytest.approx({"r": 0.75, "slope": 0.4, "clips": 2})
    assert means["gaze"] is None
    assert mean_expression([]) == {}
