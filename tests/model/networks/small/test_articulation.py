"""Lids, lips and irises move further or less far than their keypoints say; nothing else does, nor the source image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.arrays import Floats
from model.motion import CanonicalKeypoints, Motion, compose, rotation_matrix
from model.networks.small.articulation import GAZE, LIDS, OPENING, WIDTH, articulated
from model.networks.small_config import GUIDED, SMALL

UPPER_LID, LOWER_LID = GUIDED.index(159), GUIDED.index(145)
UPPER_LIP, LOWER_LIP, IRIS = GUIDED.index(13), GUIDED.index(14), GUIDED.index(473)
LEFT_CORNER, RIGHT_CORNER, CHIN = GUIDED.index(61), GUIDED.index(291), GUIDED.index(152)

angle = st.floats(-40, 40, width=32)


def motion(
    yaw: float = 0, pitch: float = 0, roll: float = 0, moved: Mapping[int, Sequence[float]] | None = None
) -> Motion:
    """A head turned so, in degrees, whose keypoints are moved by (x, y, z) along the head's axes."""
    expression = np.zeros((1, SMALL.keypoints, 3), np.float32)
    for keypoint, by in (moved or {}).items():
        expression[0, keypoint] = by
    y, p, r = (np.full(1, value, np.float32) for value in (yaw, pitch, roll))
    turned = (expression @ rotation_matrix(y, p, r).swapaxes(-1, -2)).astype(np.float32)
    return Motion(y, p, r, np.zeros((1, 3), np.float32), np.ones(1, np.float32), turned).to_torch()


def along_the_head(of: Motion) -> Floats:
    """Expression (K, 3) along the axes of the head."""
    driving = of.to_numpy()
    return np.asarray((driving.expression @ rotation_matrix(driving.yaw, driving.pitch, driving.roll))[0], np.float32)


@given(angle, angle, angle)
def test_lids_close_further_however_the_head_is_turned(yaw: float, pitch: float, roll: float) -> None:
    driving = motion(yaw, pitch, roll, {UPPER_LID: (0.0, 0.04, 0.0), LOWER_LID: (0.0, -0.01, 0.0)})
    drawn = along_the_head(articulated(driving, motion(pitch=3)))
    assert drawn[UPPER_LID] == pytest.approx([0, LIDS * 0.04, 0], abs=1e-5)
    assert drawn[LOWER_LID] == pytest.approx([0, -LIDS * 0.01, 0], abs=1e-5)


def test_a_smile_is_drawn_less_wide_about_its_middle() -> None:
    driving = motion(moved={LEFT_CORNER: (-0.06, -0.02, 0.01), RIGHT_CORNER: (0.02, -0.02, 0.01)})
    drawn = along_the_head(articulated(driving, motion()))
    assert drawn[RIGHT_CORNER, 0] - drawn[LEFT_CORNER, 0] == pytest.approx(WIDTH * 0.08, abs=1e-6)
    assert drawn[RIGHT_CORNER, 0] + drawn[LEFT_CORNER, 0] == pytest.approx(-0.04, abs=1e-6)
    assert drawn[LEFT_CORNER, 1:] == pytest.approx([-0.02, 0.01])


@given(angle, angle, angle)
def test_a_mouth_opens_and_an_iris_turns_further(yaw: float, pitch: float, roll: float) -> None:
    by = {UPPER_LIP: (0.0, -0.01, 0.0), LOWER_LIP: (0.01, 0.05, 0.0), IRIS: (0.02, 0.01, 0.0)}
    drawn = along_the_head(articulated(motion(yaw, pitch, roll, by), motion()))
    assert drawn[LOWER_LIP, 1] - drawn[UPPER_LIP, 1] == pytest.approx(OPENING * 0.06, abs=1e-5)
    assert drawn[LOWER_LIP, 0] == pytest.approx(0.01, abs=1e-5)
    assert drawn[IRIS] == pytest.approx([GAZE * 0.02, 0.01, 0], abs=1e-5)


@given(st.integers(0, 2**32 - 1), angle, angle)
def test_the_source_images_own_expression_is_drawn_as_it_is(seed: int, yaw: float, roll: float) -> None:
    random = np.random.default_rng(seed)
    own = {keypoint: random.normal(0, 0.05, 3).tolist() for keypoint in range(SMALL.keypoints)}
    source, driving = motion(moved=own), motion(yaw, 0, roll, own)
    np.testing.assert_allclose(articulated(driving, source).expression, driving.expression, atol=1e-5)


def test_the_head_and_everything_beside_lids_irises_and_lips_stay() -> None:
    canonical = CanonicalKeypoints(torch.randn(1, SMALL.keypoints, 3))
    driving = motion(20, -5, 3, {CHIN: (0.1, 0.2, 0.0), SMALL.keypoints - 1: (0.3, 0.0, 0.0)})
    drawn = articulated(driving, motion())
    np.testing.assert_allclose(compose(canonical, drawn), compose(canonical, driving), atol=1e-5)
    assert replace(drawn, expression=driving.expression).to_vector() == pytest.approx(driving.to_vector())
