"""Mouth windows: coordinates, how alike mouths are, what is cut."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.window.corners import corner_coordinates
from model.window.mouth import MAX_SIDE, MIN_SIDE, cut_window, shape_distance, usable
from tests.model.mouths import SKIN, TEETH, lips, picture


def turned(points: NDArray[np.float32], degrees: float, size: float) -> NDArray[np.float32]:
    """Keypoints rolled and enlarged around their middle."""
    angle = np.radians(degrees)
    rotation = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = points.mean(0)
    found: NDArray[np.float32] = ((points - middle) @ rotation.T + middle).astype(np.float32)
    return found


def test_place_size_and_roll_change_no_shape() -> None:
    mouth = lips(0.5)
    other = turned(lips(0.5, (0.1, 0.2)), 20, 0.7)
    assert shape_distance(corner_coordinates(mouth), corner_coordinates(other)) < 1e-4


def test_the_further_lips_differ_the_further_is_the_shape() -> None:
    shapes = [corner_coordinates(lips(opening)) for opening in (0.0, 0.2, 0.6, 1.0)]
    away = [float(shape_distance(shapes[0], shape)) for shape in shapes]
    assert away == sorted(away)
    assert away[0] < 1e-6
    assert away[1] > 0.02


def test_a_window_shows_the_mouth_upright_and_where_its_keypoints_are() -> None:
    mouth = lips(1.0)
    window = cut_window(picture(mouth), mouth)
    side = len(window.picture)
    assert window.picture.shape == (side, side, 3)
    assert MIN_SIDE <= side <= MAX_SIDE
    assert np.allclose(window.points, corner_coordinates(mouth), atol=1 / 90)
    row = round((0 - window.middle + window.half) / (2 * window.half) * side)
    assert np.abs(window.picture[row, side // 2].astype(int) - TEETH).max() < 10
    assert np.abs(window.picture[0, 0].astype(int) - SKIN).max() < 10


def test_a_rolled_mouth_is_cut_as_a_level_one() -> None:
    mouth = lips(0.8)
    level = cut_window(picture(mouth), mouth)
    quarter = np.stack([-mouth[:, 1], mouth[:, 0]], -1)  # the picture turned by 90 degrees clockwise
    rolled = cut_window(np.ascontiguousarray(np.rot90(picture(mouth), -1)), quarter)
    assert np.abs(level.picture.astype(int) - rolled.picture).mean() < 1


@pytest.mark.parametrize("points", [lips(0.5, (0.9, 0.4)), lips(0.5, half=0.03), lips(6.0, half=0.1)])
def test_mouths_outside_the_crop_too_small_or_too_wide_open_are_not_cut(points: NDArray[np.float32]) -> None:
    assert not usable(points)


def test_others_are() -> None:
    assert usable(np.stack([lips(0.0), lips(0.8)])).all()
