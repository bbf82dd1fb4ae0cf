"""Head pose from landmarks: the inverse of `motion.compose` on rigid motion, and the making of the mean face."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.arrays import Floats
from model.motion import CanonicalKeypoints, Motion, compose
from model.teacher.decompose import (
    CHIN,
    EYE_DISTANCE,
    FOREHEAD,
    LEFT_IRIS,
    RIGHT_IRIS,
    RIGID,
    decompose,
    face_shape,
    fit_face_shape,
    mirror_pairs,
)

ANGLE = st.floats(-60, 60)


def posed(yaw: Floats, pitch: Floats, roll: Floats, scale: Floats, translation: Floats) -> Floats:
    shape = face_shape()
    motion = Motion(yaw, pitch, roll, translation, scale, np.zeros((len(yaw), *shape.shape), np.float32))
    return np.asarray(compose(CanonicalKeypoints(shape[None]), motion), np.float32)


@settings(max_examples=50, deadline=None)
@given(yaw=ANGLE, pitch=ANGLE, roll=ANGLE, scale=st.floats(0.2, 3), x=st.floats(-1, 1), y=st.floats(-1, 1))
def test_inverts_compose(yaw: float, pitch: float, roll: float, scale: float, x: float, y: float) -> None:
    f = [np.array([a], np.float32) for a in (yaw, pitch, roll, scale)]
    pose = decompose(posed(f[0], f[1], f[2], f[3], np.array([[x, y, 0.1]], np.float32)))
    np.testing.assert_allclose(pose.to_array()[0], [yaw, pitch, roll, scale, x, y], atol=2e-2)
    assert pose.residual[0] < 1e-3


def test_expression_leaves_the_pose_alone() -> None:
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    points = posed(zero + 20, zero - 10, zero + 5, one, np.zeros((1, 3), np.float32))
    rest = np.setdiff1d(np.arange(points.shape[1]), RIGID)
    moved = points.copy()
    moved[:, rest, 1] += 0.2
    np.testing.assert_array_equal(decompose(moved).to_array(), decompose(points).to_array())


def test_axes_agree_with_the_convention() -> None:
    shape = face_shape()
    nose, zero, one = 1, np.zeros(1, np.float32), np.ones(1, np.float32)
    still = np.zeros((1, 3), np.float32)
    assert shape[nose, 2] < shape[RIGHT_IRIS, 2]  # the nose is nearer to the viewer
    assert shape[CHIN, 1] > shape[FOREHEAD, 1]  # y grows downwards
    assert shape[LEFT_IRIS, 0] > 0 > shape[RIGHT_IRIS, 0]  # the person's left is the image's right
    assert posed(zero + 20, zero, zero, one, still)[0, nose, 0] > 0  # yaw > 0 turns to the image's right
    assert posed(zero, zero + 20, zero, one, still)[0, nose, 1] < posed(zero, zero, zero, one, still)[0, nose, 1]


def test_mean_face_is_normalised_and_symmetric() -> None:
    shape = face_shape()
    assert shape.shape == (478, 3)
    np.testing.assert_allclose(shape[RIGID].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(shape[LEFT_IRIS] - shape[RIGHT_IRIS]), EYE_DISTANCE, atol=1e-5)
    np.testing.assert_allclose(shape[CHIN, 2], shape[FOREHEAD, 2], atol=1e-5)
    pairs = mirror_pairs(shape)
    np.testing.assert_array_equal(pairs[pairs], np.arange(478))
    np.testing.assert_allclose(shape[pairs] * [-1, 1, 1], shape, atol=1e-5)


def test_fit_recovers_the_shape_from_turned_heads() -> None:
    random = np.random.default_rng(3)
    people = []
    for _ in range(6):
        yaw, pitch, roll = random.uniform(-30, 30, (3, 20)).astype(np.float32)
        scale = random.uniform(0.5, 1.5, 20).astype(np.float32)
        people.append(posed(yaw, pitch, roll, scale, random.uniform(-0.3, 0.3, (20, 3)).astype(np.float32)))
    np.testing.assert_allclose(fit_face_shape(people), face_shape(), atol=2e-3)
