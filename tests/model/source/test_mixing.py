"""A sender foretells what a receiver mixes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.networks.small import mouth
from model.source.mixing import unlikeness
from model.source.texture import MOUTH_TEXTURE
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, cut_window, shape_distance
from model.window.nearness import MOST_DRAWN
from tests.model.mouths import lips, picture


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14), st.floats(0, 1), st.floats(0, 1))
def test_weights_are_a_receivers(windows: list[float], source: float, driving: float) -> None:
    shapes = [corner_coordinates(lips(opening)) for opening in (source, *windows)]
    shown = corner_coordinates(lips(driving))
    beside = mouth.MouthWindows(
        pictures=(),
        points=torch.from_numpy(np.stack(shapes[1:])),
        extent=(),
        source=torch.from_numpy(shapes[0]),
    )
    foretold = NEARNESS.weights(np.array([shape_distance(shape, shown[None]) for shape in shapes], np.float64))
    assert foretold.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(foretold[1:, 0], mouth._weights(beside, torch.from_numpy(shown)), atol=1e-3)


def test_many_windows_lie_near_so_the_nearest_counts_for_more() -> None:
    softness = [NEARNESS.softness(windows) for windows in (0, 1, 10, 11, 20)]
    assert softness[:3] == [NEARNESS.over] * 3
    assert softness[3] < softness[2]
    assert softness[4] == pytest.approx(NEARNESS.over / 2**0.5)


def test_of_many_alike_no_more_than_some_are_drawn_and_none_comes_in_at_once() -> None:
    away = np.r_[0.5, np.full(MOST_DRAWN, 0.02), np.linspace(0.0, 0.05, 30)][:, None] * np.ones(2)
    weights = NEARNESS.weights(away)
    assert ((weights[1:] > 0).sum(0) <= MOST_DRAWN).all()
    assert weights.sum(0) == pytest.approx(1)
    assert np.abs(NEARNESS.weights(away + np.eye(47, 2, -1) * 1e-6) - weights).max() < 1e-3
    same = NEARNESS.weights(np.r_[0.5, np.zeros(48)][:, None])
    assert same[:, 0].tolist() == [1.0, *[0.0] * 48]


def test_a_source_image_alone_counts_whole() -> None:
    assert NEARNESS.weights(np.array([[0.3, 0.0]])).tolist() == [[1, 1]]


def test_unlikeness_is_the_distance_from_the_mixed_texture() -> None:
    rng = np.random.default_rng(1)
    seen, pictures = (rng.uniform(size=(count, 50)) for count in (7, 3))
    away = rng.uniform(0, 0.05, (3, 7))
    squares, among = (seen**2).mean(1), pictures @ pictures.T / 50
    found = unlikeness(NEARNESS, away, squares, pictures @ seen.T / 50, among)
    mixed = NEARNESS.weights(away).T @ pictures
    assert found == pytest.approx(np.sqrt(((seen - mixed) ** 2).mean(1)).mean(), rel=1e-4)


def test_a_texture_has_no_shape_and_no_light() -> None:
    """Of one mouth, moved, smaller and darker, it is nearly the same; of another mouth it is not."""
    points = lips(0.5)
    texture = MOUTH_TEXTURE.texture(picture(points), points)
    assert texture.shape == (MOUTH_TEXTURE.size,)
    assert texture.mean() == pytest.approx(1, abs=1e-5)
    moved = 0.8 * points + 0.1
    same = MOUTH_TEXTURE.texture(picture(moved) // 2, moved.astype(np.float32))
    other = MOUTH_TEXTURE.texture(picture(lips(0.0)), lips(0.0))
    assert np.abs(same - texture).mean() < 0.3 * np.abs(other - texture).mean()


def test_a_window_holds_a_textures_width_and_nothing_wild_stops_one() -> None:
    points = lips(0.5)
    crop = picture(points)
    window = cut_window(crop, points)
    assert window.half >= 1.25
    assert np.isfinite(MOUTH_TEXTURE.texture(np.zeros_like(crop), points)).all()
    beyond = (3 * points).astype(np.float32)
    assert np.isfinite(MOUTH_TEXTURE.texture(crop, beyond)).all()
