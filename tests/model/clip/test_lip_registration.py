"""Lips go where the film has them, as far as windows show it, and nothing else moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter1d

from model.clip.lip_registration import registered
from model.clip.mouth_patches import PATCH, MouthPatches, mouth_patch
from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import MOUTH, SMALL
from model.source.mouth_choice import mouth_points
from model.window.mouth import MouthWindow, cut_window
from tests.model.mouths import lips, picture

CANONICAL = CanonicalKeypoints(np.zeros((SMALL.keypoints, 3), np.float32))
OPENINGS = [0.0, 0.3, 0.6, 0.9, *[0.35, 0.55, 0.7, 0.85] * 10]
"""The source image's; three windows'; frames between."""
WINDOWS = [1, 2, 3]
HALF = 0.18
BARE = np.ones(len(OPENINGS), bool)


def clip(openings: list[float]) -> Motion:
    """A head of half size that looks ahead, its mouth open so far in each frame."""
    vectors = np.zeros((len(openings), 11 + 3 * SMALL.keypoints + 128), np.float32)
    vectors[:, 3] = 0.5
    expression = vectors[:, 11 : 11 + 3 * SMALL.keypoints].reshape(len(openings), -1, 3)
    for frame, opening in enumerate(openings):
        expression[frame, list(MOUTH), :2] = lips(opening, half=HALF) / 0.5
    return Motion.from_vector(vectors)


def filmed(openings: list[float]) -> NDArray[np.uint8]:
    """Pictures of those mouths, a little blurred, as a camera's are."""
    sharp = [Image.fromarray(picture(lips(opening, half=HALF))) for opening in openings]
    return np.stack([np.asarray(one.filter(ImageFilter.GaussianBlur(1))) for one in sharp])


def cut(motions: Motion) -> dict[int, MouthWindow]:
    """Windows as they are cut where motion is told."""
    pictures, points = filmed(OPENINGS), mouth_points(CANONICAL, motions)
    return {frame: cut_window(pictures[frame], points[frame]) for frame in WINDOWS}


def trembling(motions: Motion) -> Motion:
    """Landmarks that are wrong by most of a pixel, but for pictures that show themselves."""
    moved = motions.expression.copy()
    rng = np.random.default_rng(0)
    wrong = rng.normal(0, 0.005, (len(moved), 1, 2)) + rng.normal(0, 0.002, (len(moved), len(MOUTH), 2))
    wrong = gaussian_filter1d(wrong, 2, axis=0) * 2.5  # motion is smoothed before
    moved[4:, list(MOUTH), :2] += wrong[4:] / 0.5
    return replace(motions, expression=moved)


def test_lips_go_where_the_film_has_them() -> None:
    true = clip(OPENINGS)
    found = trembling(true)
    points = mouth_points(CANONICAL, true)
    patches = MouthPatches.of(filmed(OPENINGS), points)
    steps: list[None] = []
    with torch.inference_mode():  # as evaluation calls it
        placed = registered(found, CANONICAL, cut(found), patches, 0, BARE, lambda: steps.append(None))
    before, after = (np.linalg.norm(mouth_points(CANONICAL, one) - points, axis=-1)[4:] for one in (found, placed))
    assert after.mean() < 0.75 * before.mean()
    assert len(steps) == len(OPENINGS)
    np.testing.assert_array_equal(placed.expression[:4], found.expression[:4])  # pictures show themselves
    others = np.setdiff1d(np.arange(SMALL.keypoints), MOUTH)
    np.testing.assert_array_equal(placed.expression[:, others], found.expression[:, others])
    np.testing.assert_array_equal(placed.expression[..., 2], found.expression[..., 2])
    np.testing.assert_array_equal(placed.translation, found.translation)


@pytest.mark.parametrize("colour", [(20, 90, 20), (200, 150, 130), None], ids=["thing", "skin", "noise"])
def test_what_covers_a_mouth_draws_it_no_further_than_a_pixel(colour: tuple[int, int, int] | None) -> None:
    motions, pictures = trembling(clip(OPENINGS)), filmed(OPENINGS)
    pictures[4:] = colour or np.random.default_rng(1).integers(0, 256, pictures[4:].shape)
    patches = MouthPatches.of(pictures, mouth_points(CANONICAL, motions))
    placed = registered(motions, CANONICAL, cut(motions), patches, 0, BARE)
    way = mouth_points(CANONICAL, placed) - mouth_points(CANONICAL, motions)
    assert np.abs(way).max() < 1 / 128


def test_lips_that_are_covered_stay() -> None:
    motions, bare = trembling(clip(OPENINGS)), BARE.copy()
    bare[20:30] = False
    patches = MouthPatches.of(filmed(OPENINGS), mouth_points(CANONICAL, motions))
    placed = registered(motions, CANONICAL, cut(motions), patches, 0, bare)
    moved = (placed.expression != motions.expression).any((1, 2))
    assert not moved[20:30].any()
    assert moved[4:20].all()


def test_without_windows_nothing_moves() -> None:
    motions = clip(OPENINGS)
    steps: list[None] = []
    patches = MouthPatches.of(filmed(OPENINGS), mouth_points(CANONICAL, motions))
    assert registered(motions, CANONICAL, {}, patches, 0, BARE, lambda: steps.append(None)) is motions
    assert len(steps) == len(OPENINGS)


@pytest.mark.parametrize("wrong", [np.nan, 0.0, 3.0, -3.0], ids=["no number", "a point", "beyond", "before"])
def test_a_mouth_that_is_none_harms_no_other(wrong: float) -> None:
    motions = trembling(clip(OPENINGS))
    patches = MouthPatches.of(filmed(OPENINGS), mouth_points(CANONICAL, motions))
    whole = registered(motions, CANONICAL, cut(motions), patches, 0, BARE)
    motions.expression[7, list(MOUTH), :2] = wrong
    placed = registered(motions, CANONICAL, cut(motions), patches, 0, BARE)
    others = np.delete(np.arange(len(OPENINGS)), [6, 7, 8])  # neighbours are averaged
    np.testing.assert_allclose(placed.expression[others], whole.expression[others], atol=1e-5)
    assert np.isfinite(np.delete(placed.expression, 7, 0)).all()


def test_a_patch_lies_in_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for middle in ((0.0, 0.4), (0.98, 0.98), (-2.0, 5.0), (np.nan, 0.0)):
        patch, (x, y) = mouth_patch(image, lips(0.3, middle))
        np.testing.assert_array_equal(patch, image[y : y + PATCH, x : x + PATCH])
        assert patch.shape == (PATCH, PATCH, 3)
