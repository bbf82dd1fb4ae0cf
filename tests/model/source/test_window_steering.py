"""Lips lean to the window whose picture is like the film, and to no other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import MOUTH, SMALL
from model.registration.similarity import thumbnail
from model.source.mouth_choice import mouth_points
from model.source.window_steering import LEAN, steered
from model.window.corners import corner_coordinates
from model.window.mouth import shape_distance
from tests.model.mouths import TEETH, lips, picture

DARK = (60, 20, 20)
CANONICAL = CanonicalKeypoints(np.zeros((SMALL.keypoints, 3), np.float32))


def clip(openings: list[float], scale: float = 1.0) -> Motion:
    """A head that looks ahead, `scale` as large, its mouth open so far in each frame."""
    vectors = np.zeros((len(openings), 11 + 3 * SMALL.keypoints + 128), np.float32)
    vectors[:, 3] = scale
    expression = vectors[:, 11 : 11 + 3 * SMALL.keypoints].reshape(len(openings), -1, 3)
    for frame, opening in enumerate(openings):
        expression[frame, list(MOUTH), :2] = lips(opening) / scale
    return Motion.from_vector(vectors)


def film(openings: list[float], teeth: list[bool]) -> NDArray[np.uint8]:
    """Thumbnails of mouths that show teeth or none."""
    both = zip(openings, teeth, strict=True)
    return np.stack([thumbnail(picture(lips(opening), TEETH if bared else DARK)) for opening, bared in both])


OPENINGS = [0.0, 0.8, 1.0, *[0.9] * 6]
"""The source image's; a window without teeth; one with teeth; frames in the middle between both windows."""
BARE = np.ones(len(OPENINGS), bool)


@pytest.mark.parametrize(("bared", "wanted"), [(False, 1), (True, 2)], ids=["none", "teeth"])
@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_lips_lean_to_the_window_that_shows_what_they_show(bared: bool, wanted: int, scale: float) -> None:
    motions = clip(OPENINGS, scale)
    thumbnails = film(OPENINGS, [False, False, True, *[bared] * 6])
    found = steered(motions, CANONICAL, thumbnails, 0, [1, 2], BARE)
    before, after = (corner_coordinates(mouth_points(CANONICAL, one)) for one in (motions, found))
    way = shape_distance(before[wanted], before[5])
    assert shape_distance(before[wanted], after[5]) == pytest.approx((1 - LEAN) * way, rel=0.02)
    np.testing.assert_array_equal(found.expression[:3], motions.expression[:3])  # pictures show themselves
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-6)  # corners of mouths stay


def test_lips_that_gain_nothing_stay() -> None:
    motions = clip(OPENINGS)
    thumbnails = film(OPENINGS, [False] * len(OPENINGS))
    thumbnails[1:] = thumbnails[3]  # both windows show the same
    found = steered(motions, CANONICAL, thumbnails, 0, [1, 2], BARE)
    np.testing.assert_array_equal(found.expression, motions.expression)


def test_lips_that_are_covered_stay() -> None:
    motions, covered = clip(OPENINGS), np.arange(len(OPENINGS)) > 5
    thumbnails = film(OPENINGS, [False, False, True, *[True] * 6])
    found = steered(motions, CANONICAL, thumbnails, 0, [1, 2], ~covered)
    moved = (found.expression != motions.expression).any((1, 2))
    assert moved[3:6].all()
    assert not moved[6:].any()


def test_without_windows_nothing_moves() -> None:
    motions = clip(OPENINGS)
    assert steered(motions, CANONICAL, film(OPENINGS, [False] * 9), 0, [], BARE) is motions


def test_a_long_clip_is_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    motions, thumbnails = clip(OPENINGS), film(OPENINGS, [False, False, True, *[True, False] * 3])
    whole = steered(motions, CANONICAL, thumbnails, 0, [1, 2], BARE)
    monkeypatch.setattr("model.source.window_steering._BLOCK", 2)
    blocks = steered(motions, CANONICAL, thumbnails, 0, [1, 2], BARE)
    np.testing.assert_allclose(blocks.expression, whole.expression, atol=1e-6)
