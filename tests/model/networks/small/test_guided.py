"""The face's keypoints lie where landmarks have them, whatever the pose and whoever's canonical keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.arrays import Floats
from model.motion import CanonicalKeypoints, Motion, compose, rotation_matrix
from model.networks.small.guided import face_points, following, with_canonical, with_face
from model.networks.small_config import GUIDED, SMALL

K, J = SMALL.keypoints, len(GUIDED)

poses = st.tuples(
    st.floats(-80, 80),  # yaw
    st.floats(-60, 60),  # pitch
    st.floats(-180, 180),  # roll
    st.floats(0.3, 2.0),  # scale
    *[st.floats(-1, 1)] * 3,
)
seeds = st.integers(0, 2**32 - 1)


def motion_of(pose: tuple[float, ...], random: np.random.Generator) -> Motion:
    yaw, pitch, roll, scale, *translation = (np.float32(value) for value in pose)
    return Motion(yaw, pitch, roll, np.array(translation), scale, normal(random, 0.1, K))


def normal(random: np.random.Generator, spread: float, *shape: int) -> Floats:
    return random.normal(0, spread, (*shape, 3)).astype(np.float32)


@given(poses, seeds)
def test_the_face_is_put_exactly_where_it_is_seen(pose: tuple[float, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    motion, canonical = motion_of(pose, random), CanonicalKeypoints(normal(random, 0.4, K))
    points = normal(random, 0.5, J)
    placed = with_face(motion, canonical, points)
    np.testing.assert_allclose(compose(canonical, placed)[:J], points, atol=2e-5)
    np.testing.assert_array_equal(placed.expression[J:], motion.expression[J:])
    assert placed.expression.dtype == np.float32
    same = replace(placed, expression=motion.expression)
    np.testing.assert_array_equal(same.to_vector(), motion.to_vector())


@given(poses, seeds)
def test_other_canonical_keypoints_leave_the_face_where_it_was(pose: tuple[float, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    motion = motion_of(pose, random)
    now, then = (CanonicalKeypoints(normal(random, 0.4, K)) for _ in range(2))
    moved = with_canonical(motion, now, then, J)
    np.testing.assert_allclose(compose(then, moved)[:J], compose(now, motion)[:J], atol=2e-5)
    np.testing.assert_array_equal(moved.expression[J:], motion.expression[J:])


def test_several_motions_are_placed_as_each_alone() -> None:
    random = np.random.default_rng(0)
    motions = [motion_of((angle, -angle, 2 * angle, 0.7, 0.1, 0.0, 0.0), random) for angle in (-20.0, 0.0, 30.0)]
    now, then = (CanonicalKeypoints(normal(random, 0.4, K)) for _ in range(2))
    points = normal(random, 0.5, 3, J)
    together = with_face(Motion.stack(motions), now, points)
    further = with_canonical(together, now, then, J)
    for index, motion in enumerate(motions):
        alone = with_face(motion, now, points[index])
        assert together[index].to_vector() == pytest.approx(alone.to_vector(), abs=1e-5)
        assert further[index].to_vector() == pytest.approx(with_canonical(alone, now, then, J).to_vector(), abs=1e-5)


def test_depth_begins_amid_what_expression_leaves_in_place() -> None:
    random = np.random.default_rng(0)
    landmarks = normal(random, 0.3, 2, 478)
    points = face_points(landmarks)
    assert points.shape == (2, J, 3)
    np.testing.assert_array_equal(points[..., :2], landmarks[:, list(GUIDED), :2])
    further = landmarks + np.array([0, 0, 0.4], np.float32)
    np.testing.assert_allclose(face_points(further), points, atol=1e-6)
    mouth = landmarks.copy()
    mouth[:, 13, 2] += 0.1  # an upper lip that comes nearer moves itself alone
    assert np.flatnonzero(np.abs(face_points(mouth) - points).max((0, 2))).tolist() == [GUIDED.index(13)]


@given(poses, st.floats(-20, 20), st.floats(-20, 20), st.floats(-20, 20), st.floats(0.8, 1.2), seeds)
def test_the_head_follows_its_landmarks_and_the_body_stays(
    pose: tuple[float, ...], yaw: float, pitch: float, roll: float, size: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    canonical, motion = CanonicalKeypoints(normal(random, 0.4, K)), motion_of(pose, random)
    turn = rotation_matrix(*(np.float32(angle) for angle in (yaw, pitch, roll)))
    before = normal(random, 0.3, 478)
    middle = before.mean(0)
    shift = np.array([0.1, -0.05, 0.0], np.float32)
    after = size * (before - middle) @ turn.T + middle + shift
    moved = following(motion, canonical, before, after, SMALL.layout)
    x, y = compose(canonical, motion), compose(canonical, moved)
    np.testing.assert_allclose(y[SMALL.layout.body], x[SMALL.layout.body], atol=2e-3)
    head = SMALL.layout.head
    gaps = y[head] - y[head].mean(0)
    np.testing.assert_allclose(gaps, size * (x[head] - x[head].mean(0)) @ turn.T, atol=2e-3)


@given(poses, seeds)
def test_a_face_that_is_shifted_shifts_the_head(pose: tuple[float, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    canonical, motion = CanonicalKeypoints(normal(random, 0.4, K)), motion_of(pose, random)
    before, shift = normal(random, 0.3, 478), np.array([0.1, -0.05, 0.0], np.float32)
    moved = following(motion, canonical, before, before + shift, SMALL.layout)
    head = SMALL.layout.head
    expected = compose(canonical, motion)[head] + shift
    np.testing.assert_allclose(compose(canonical, moved)[head], expected, atol=2e-3)
