"""Motion algebra: the convention that every other part relies on, pinned by examples and by properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model import motion as algebra
from model.keypoint_layout import KeypointLayout
from model.motion import POSE_SCALARS, RESIDUAL_FLOW_PLACES, RESIDUAL_FLOW_SCALARS, CanonicalKeypoints, Motion, View

Floats = NDArray[np.float64]

LAYOUT, PIVOT = KeypointLayout(5, face_count=2, body_count=2), (0.1, 0.4, 0.2)

# |yaw| < 90 is where Euler angles in this order are unique.
yaws = st.floats(-85, 85)
turns = st.floats(-175, 175)
seeds = st.integers(0, 2**32 - 1)


def random_motion(seed: int, shape: tuple[int, ...] = (3,), keypoints: int = 5) -> Motion:
    rng = np.random.default_rng(seed)
    return Motion(
        yaw=rng.uniform(-60, 60, shape),
        pitch=rng.uniform(-40, 40, shape),
        roll=rng.uniform(-40, 40, shape),
        translation=rng.uniform(-0.3, 0.3, (*shape, 3)),
        scale=rng.uniform(0.7, 1.4, shape),
        expression=rng.normal(0, 0.02, (*shape, keypoints, 3)),
        background=rng.normal(0, 0.05, (*shape, 4)),
        residual_flow=rng.normal(0, 0.01, (*shape, RESIDUAL_FLOW_PLACES, 2)),
    )


def random_canonical(seed: int, shape: tuple[int, ...] = (3,), keypoints: int = 5) -> CanonicalKeypoints:
    return CanonicalKeypoints(np.random.default_rng(seed).uniform(-0.7, 0.7, (*shape, keypoints, 3)))


def neutral(keypoints: int = 1) -> Motion:
    zero = np.zeros(())
    return Motion(zero, zero, zero, np.zeros(3), np.ones(()), np.zeros((keypoints, 3)))


def fields_of(motion: Motion) -> list[Any]:
    return [
        motion.yaw,
        motion.pitch,
        motion.roll,
        motion.translation,
        motion.scale,
        motion.expression,
        motion.background,
        motion.residual_flow,
    ]


def turned(point: tuple[float, float, float], yaw: float = 0, pitch: float = 0, roll: float = 0) -> Floats:
    rotation = algebra.rotation_matrix(*(np.float64(a) for a in (yaw, pitch, roll)))
    return np.asarray(rotation @ np.asarray(point))


# The convention: x right, y down, z away from the viewer. The nose points at the viewer, z < 0.

NOSE, CHIN, CROWN = (0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)


def test_positive_yaw_turns_the_nose_to_the_right_of_the_image() -> None:
    np.testing.assert_allclose(turned(NOSE, yaw=90), (1, 0, 0), atol=1e-12)


def test_positive_pitch_lifts_the_nose() -> None:
    np.testing.assert_allclose(turned(NOSE, pitch=90), (0, -1, 0), atol=1e-12)


def test_positive_roll_tilts_clockwise_as_seen() -> None:
    np.testing.assert_allclose(turned(CROWN, roll=90), (1, 0, 0), atol=1e-12)


def test_rotation_order_is_roll_after_yaw_after_pitch() -> None:
    # Pitch first lifts the nose out of yaw's reach and brings the chin to the front, from where yaw takes it right.
    np.testing.assert_allclose(turned(NOSE, yaw=90, pitch=90), (0, -1, 0), atol=1e-12)
    np.testing.assert_allclose(turned(NOSE, yaw=90, roll=90), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(turned(CHIN, yaw=90, pitch=90), (1, 0, 0), atol=1e-12)


@given(turns, turns, turns)
def test_rotation_is_the_product_of_its_axes(yaw: float, pitch: float, roll: float) -> None:
    zero = np.float64(0)
    product = (
        algebra.rotation_matrix(zero, zero, np.float64(roll))
        @ algebra.rotation_matrix(np.float64(yaw), zero, zero)
        @ algebra.rotation_matrix(zero, np.float64(pitch), zero)
    )
    whole = algebra.rotation_matrix(np.float64(yaw), np.float64(pitch), np.float64(roll))
    np.testing.assert_allclose(whole, product, atol=1e-12)


@given(turns, turns, turns)
def test_rotation_is_orthonormal_and_right_handed(yaw: float, pitch: float, roll: float) -> None:
    rotation = algebra.rotation_matrix(np.float64(yaw), np.float64(pitch), np.float64(roll))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@given(yaws, turns, turns)
def test_angles_inverts_rotation_matrix(yaw: float, pitch: float, roll: float) -> None:
    found = algebra.angles(algebra.rotation_matrix(np.float64(yaw), np.float64(pitch), np.float64(roll)))
    np.testing.assert_allclose(found, (yaw, pitch, roll), atol=1e-6)


def test_angles_survives_a_yaw_of_ninety_degrees_and_rounding_beyond() -> None:
    rotation = algebra.rotation_matrix(np.float32(90), np.float32(0), np.float32(0)) * np.float32(1 + 1e-6)
    assert algebra.angles(rotation)[0] == pytest.approx(90, abs=0.1)


# Composition


def test_compose_by_hand() -> None:
    canonical = CanonicalKeypoints(np.array([NOSE]))
    motion = Motion(
        np.float64(90), np.float64(0), np.float64(0), np.array([0.5, 0.25, 0.0]), np.float64(2), np.array([[0, 0.1, 0]])
    )
    # 2 * ((1, 0, 0) + (0, 0.1, 0)) + (0.5, 0.25, 0)
    np.testing.assert_allclose(algebra.compose(canonical, motion), [[2.5, 0.45, 0.0]], atol=1e-12)


@given(seeds)
def test_neutral_motion_leaves_canonical_keypoints(seed: int) -> None:
    canonical = random_canonical(seed, shape=())
    np.testing.assert_allclose(algebra.compose(canonical, neutral(5)), canonical.points, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_any_batch_shape_equals_its_elements(shape: tuple[int, ...]) -> None:
    motion, canonical = random_motion(1, shape), random_canonical(2, shape)
    whole = algebra.compose(canonical, motion)
    assert whole.shape == (*shape, 5, 3)
    for index in np.ndindex(shape):
        one = algebra.compose(CanonicalKeypoints(canonical.points[index]), motion[index])
        np.testing.assert_allclose(whole[index], one, atol=1e-12)


@given(seeds)
def test_numpy_and_torch_agree(seed: int) -> None:
    a, b, canonical = random_motion(seed), random_motion(seed + 1), random_canonical(seed)
    at, bt = a.to_torch(dtype=torch.float64), b.to_torch(dtype=torch.float64)
    ct = CanonicalKeypoints(torch.from_numpy(canonical.points))
    view = View(10, -5, 3, (0.1, 0.0, -0.2))

    def same(x: Any, y: Any) -> None:
        np.testing.assert_allclose(x, y.numpy(), atol=1e-6)  # a View's angles are held in float32

    same(algebra.rotation_matrix(a.yaw, a.pitch, a.roll), algebra.rotation_matrix(at.yaw, at.pitch, at.roll))
    same(algebra.compose(canonical, a), algebra.compose(ct, at))
    same(algebra.relative_jacobians(canonical, a), algebra.relative_jacobians(ct, at))
    same(algebra.distance(canonical, a, b), algebra.distance(ct, at, bt))
    pairs = [
        (algebra.apply_view(a, view), algebra.apply_view(at, view)),
        (algebra.turn_head(a, view, PIVOT, LAYOUT), algebra.turn_head(at, view, PIVOT, LAYOUT)),
        (algebra.interpolate(a, b, 0.3), algebra.interpolate(at, bt, 0.3)),
        (algebra.transfer(a, b, a), algebra.transfer(at, bt, at)),
    ]
    for x, y in pairs:
        for left, right in zip(fields_of(x), fields_of(y), strict=True):
            same(left, right)


def test_jacobians_are_the_rotation_or_the_rotated_learned_ones() -> None:
    motion, canonical = random_motion(3), random_canonical(4)
    rotation = algebra.rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    plain = algebra.relative_jacobians(canonical, motion)
    assert plain.shape == (3, 5, 3, 3)
    np.testing.assert_array_equal(plain[:, 2], rotation)
    learned = CanonicalKeypoints(canonical.points, np.broadcast_to(2 * np.eye(3), (3, 5, 3, 3)))
    np.testing.assert_allclose(algebra.relative_jacobians(learned, motion), 2 * plain)


# Free view


@given(seeds)
def test_identity_view_returns_the_motion_itself(seed: int) -> None:
    motion = random_motion(seed)
    assert algebra.apply_view(motion, View()) is motion


@given(seeds, st.floats(-30, 30), st.floats(-15, 15))
def test_view_rotates_from_the_left_and_adds_its_translation(seed: int, yaw: float, pitch: float) -> None:
    motion, view = random_motion(seed), View(yaw, pitch, 0.0, (0.1, -0.2, 0.0))
    seen = algebra.apply_view(motion, view)
    turn = algebra.rotation_matrix(np.float64(yaw), np.float64(pitch), np.float64(0))
    expected = turn @ algebra.rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    np.testing.assert_allclose(algebra.rotation_matrix(seen.yaw, seen.pitch, seen.roll), expected, atol=1e-5)
    np.testing.assert_allclose(seen.translation - motion.translation, np.tile((0.1, -0.2, 0.0), (3, 1)), atol=1e-6)
    assert seen.scale is motion.scale
    assert seen.expression is motion.expression


def test_view_of_a_frontal_head_is_the_asked_pose() -> None:
    seen = algebra.apply_view(neutral(), View(20, -5, 7))
    assert [float(a) for a in (seen.yaw, seen.pitch, seen.roll)] == pytest.approx([20, -5, 7], abs=1e-4)


@given(seeds, st.floats(-30, 30))
def test_opposite_yaw_views_cancel(seed: int, yaw: float) -> None:
    motion = random_motion(seed)
    back = algebra.apply_view(algebra.apply_view(motion, View(yaw=yaw)), View(yaw=-yaw))
    rotation = algebra.rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    np.testing.assert_allclose(algebra.rotation_matrix(back.yaw, back.pitch, back.roll), rotation, atol=1e-5)


@given(seeds, st.floats(-30, 30), st.floats(-15, 15))
def test_a_head_on_a_neck_turns_about_it_and_its_body_stays(seed: int, yaw: float, pitch: float) -> None:
    motion, canonical = random_motion(seed), random_canonical(seed)
    points = np.concatenate([canonical.points[..., :3, :], np.zeros_like(canonical.points[..., 3:, :])], -2)
    canonical = CanonicalKeypoints(points)
    view = View(yaw, pitch, 3.0, (0.1, -0.2, 0.0))
    seen = algebra.turn_head(motion, view, PIVOT, LAYOUT)
    turn = algebra.rotation_matrix(np.float64(yaw), np.float64(pitch), np.float64(3.0))
    rotation = algebra.rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    neck = motion.scale[:, None] * (rotation @ np.asarray(PIVOT)) + motion.translation  # (3, 3)
    before, after = algebra.compose(canonical, motion), algebra.compose(canonical, seen)
    head = (before[:, LAYOUT.head] - neck[:, None]) @ turn.T + neck[:, None] + (0.1, -0.2, 0.0)
    np.testing.assert_allclose(after[:, LAYOUT.head], head, atol=1e-5)
    np.testing.assert_allclose(after[:, LAYOUT.body], before[:, LAYOUT.body] + (0.1, -0.2, 0.0), atol=1e-5)
    assert algebra.turn_head(motion, View(), PIVOT, LAYOUT) is motion


# Interpolation, distance, transfer


@given(seeds)
def test_interpolation_meets_its_ends(seed: int) -> None:
    a, b = random_motion(seed), random_motion(seed + 1)
    for weight, end in ((0.0, a), (1.0, b)):
        for x, y in zip(fields_of(algebra.interpolate(a, b, weight)), fields_of(end), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-9)


def test_interpolation_takes_the_short_way_round() -> None:
    def rolled(angle: float) -> Motion:
        return replace(neutral(), roll=np.float64(angle))

    assert float(algebra.interpolate(rolled(170), rolled(-170), 0.5).roll) == pytest.approx(180)
    assert float(algebra.interpolate(rolled(-10), rolled(30), 0.25).roll) == pytest.approx(0)


@given(seeds)
def test_distance_is_symmetric_zero_for_equals_and_sees_translation(seed: int) -> None:
    canonical, a, b = random_canonical(seed), random_motion(seed), random_motion(seed + 1)
    np.testing.assert_allclose(algebra.distance(canonical, a, b), algebra.distance(canonical, b, a))
    np.testing.assert_array_equal(algebra.distance(canonical, a, a), np.zeros(3))
    shift = np.array([0.3, 0.4, 9.0])  # depth does not count
    moved = Motion(a.yaw, a.pitch, a.roll, a.translation + shift, a.scale, a.expression)
    np.testing.assert_allclose(algebra.distance(canonical, a, moved), 0.5)


@given(seeds)
def test_transfer_to_oneself_is_the_driving_motion(seed: int) -> None:
    driving, reference = random_motion(seed), random_motion(seed + 1)
    *moved, background, residual = fields_of(algebra.transfer(driving, reference, reference))
    *wanted, _, _ = fields_of(driving)
    for x, y in zip(moved, wanted, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-12)
    np.testing.assert_array_equal(background, reference.background)
    np.testing.assert_array_equal(residual, reference.residual_flow)


@given(seeds)
def test_transfer_of_rest_leaves_place_size_and_expression(seed: int) -> None:
    reference, source = random_motion(seed), random_motion(seed + 1)
    still = algebra.transfer(reference, reference, source)
    np.testing.assert_array_equal(still.yaw, reference.yaw)
    np.testing.assert_allclose(still.translation, source.translation)
    np.testing.assert_allclose(still.scale, source.scale)
    np.testing.assert_allclose(still.expression, source.expression)


# Flat vectors


@given(seeds, st.integers(1, 40))
def test_vector_round_trip(seed: int, keypoints: int) -> None:
    motion = random_motion(seed, keypoints=keypoints)
    vector = motion.to_vector()
    assert vector.shape == (3, POSE_SCALARS + 3 * keypoints + RESIDUAL_FLOW_SCALARS)
    assert vector.dtype == np.float32
    back = Motion.from_vector(vector)
    assert back.keypoints == keypoints
    np.testing.assert_array_equal(back.to_vector(), vector)
    for x, y in zip(fields_of(back), fields_of(motion), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)


def test_vector_order() -> None:
    one, two, three, four = (np.float32(a) for a in (1, 2, 3, 4))
    background = np.array([8, 9, 10, 11])
    residual = np.arange(18, 18 + RESIDUAL_FLOW_SCALARS).reshape(RESIDUAL_FLOW_PLACES, 2)
    motion = Motion(one, two, three, np.array([5, 6, 7]), four, np.arange(12, 18).reshape(2, 3), background, residual)
    np.testing.assert_array_equal(motion.to_vector(), np.arange(1, 18 + RESIDUAL_FLOW_SCALARS))


@pytest.mark.parametrize("shape", [(), (2,), (2, 5)])
def test_a_picture_whose_motion_is_not_named_is_unmoved(shape: tuple[int, ...]) -> None:
    named = random_motion(0, shape)
    fields = (named.yaw, named.pitch, named.roll, named.translation, named.scale, named.expression)
    still = Motion(*fields)
    np.testing.assert_array_equal(still.background, np.zeros((*shape, 4)))
    np.testing.assert_array_equal(still.residual_flow, np.zeros((*shape, RESIDUAL_FLOW_PLACES, 2)))
    tensors = Motion(*(torch.from_numpy(np.asarray(f)) for f in fields))
    assert tensors.background.shape == (*shape, 4)
    assert tensors.background.dtype == tensors.residual_flow.dtype == torch.float64
    assert tensors.residual_flow.shape == (*shape, RESIDUAL_FLOW_PLACES, 2)


def test_background_and_residual_flow_of_a_transfer_are_the_pictures() -> None:
    driving, source = random_motion(1), random_motion(2, ())
    moved = algebra.transfer(driving, driving[0], source)
    np.testing.assert_array_equal(moved.background, np.broadcast_to(source.background, (3, 4)))
    np.testing.assert_array_equal(
        moved.residual_flow, np.broadcast_to(source.residual_flow, (3, RESIDUAL_FLOW_PLACES, 2))
    )
    seen = algebra.apply_view(driving, View(yaw=20))
    np.testing.assert_array_equal(seen.background, driving.background)
    np.testing.assert_array_equal(seen.residual_flow, driving.residual_flow)


def test_vector_of_tensors_stays_a_tensor() -> None:
    motion = random_motion(1).to_torch()
    back = Motion.from_vector(torch.from_numpy(motion.to_vector()))
    assert isinstance(back.expression, torch.Tensor)
    torch.testing.assert_close(back.expression, motion.expression)


@pytest.mark.parametrize("size", [0, 7, 11, 14, 128, 138, 139, 140, 141, 143])
def test_vector_of_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="139 \\+ 3K"):
        Motion.from_vector(np.zeros((2, size), np.float32))


def test_length_and_index_are_the_batchs() -> None:
    motion = random_motion(1)
    assert len(motion) == 3
    np.testing.assert_array_equal(motion[1:].expression, motion.expression[1:])
    assert motion[0].keypoints == 5


def test_motions_are_stacked_joined_and_indexed_field_by_field() -> None:
    one, two = random_motion(1), random_motion(2)
    stacked, joined = Motion.stack([one, two]), Motion.concatenate([one, two[:1]])
    np.testing.assert_array_equal(stacked.to_vector(), np.stack([one.to_vector(), two.to_vector()]))
    np.testing.assert_array_equal(joined.to_vector(), np.concatenate([one.to_vector(), two.to_vector()[:1]]))
    np.testing.assert_array_equal(stacked[1, 2].to_vector(), two[2].to_vector())
    assert len(joined) == 4
    tensors = Motion.stack([one.to_torch(), two.to_torch()])
    assert isinstance(tensors.residual_flow, torch.Tensor)
    np.testing.assert_array_equal(tensors.to_vector(), stacked.to_vector())
    np.testing.assert_array_equal(tensors.flat().numpy(), stacked.to_vector())


def test_fields_become_numpy_arrays_and_are_changed_one_by_one() -> None:
    motion = random_motion(3)
    arrays = motion.to_torch().to_numpy()
    assert all(isinstance(field, np.ndarray) and field.dtype == np.float32 for field in fields_of(arrays))
    np.testing.assert_array_equal(arrays.to_vector(), motion.to_vector())
    np.testing.assert_array_equal(motion.map(lambda x: 2 * x).to_vector(), (2 * motion.to_vector()))
