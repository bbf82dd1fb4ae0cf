"""The mark in pictures that no camera took."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.media.colour import rgb_to_yuv420p
from model.media.face_mark import FaceMark, marked, marked_planes

MARKS: tuple[FaceMark, ...] = ("rendered", "avatar")


def grey(side: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((side, side, 3), value, np.uint8)


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("side", [256, 512])
@pytest.mark.parametrize("background", [0, 128, 255])
def test_it_is_small_upper_right_and_stands_out_from_any_background(mark: FaceMark, side: int, background: int) -> None:
    plain = grey(side, background)
    picture = marked(plain, mark)
    assert (plain == background).all(), "the picture itself is not touched"
    changed = np.argwhere((picture != plain).any(2))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert bottom < side * 0.15
    assert left > side * 0.65
    assert right < side - 2
    assert len(changed) < 0.02 * side * side
    place = picture[top : bottom + 1, left : right + 1, 0].astype(int)
    bright, dark = np.sort(place.ravel())[[-8, len(place.ravel()) // 4]]
    # Contrast 4.5 is what WCAG 2.2 (1.4.3) asks of small text; it is computed with linear light.
    light, shade = ((value / 255) ** 2.2 + 0.05 for value in (bright, dark))
    assert light / shade > 4.5


def test_both_words_differ() -> None:
    assert (marked(grey(256, 90), "rendered") != marked(grey(256, 90), "avatar")).any()


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("side", [256, 512])
def test_planes_carry_the_same_mark_as_rgb(mark: FaceMark, side: int) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:] = (200, 90, 40)

    def planes(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        converted: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = rgb_to_yuv420p(
            torch.from_numpy(rgb).permute(2, 0, 1)[None]
        )[0].numpy()
        return converted

    before = planes(picture)
    drawn = marked_planes(before, mark)
    assert np.array_equal(before, planes(picture)), "the planes themselves are not touched"
    assert np.abs(drawn.astype(int) - planes(marked(picture, mark)).astype(int)).max() <= 3


@pytest.mark.parametrize("mark", MARKS)
def test_tiny_pictures_do_no_harm(mark: FaceMark) -> None:
    assert marked(grey(4, 50), mark).shape == (4, 4, 3)
    assert marked_planes(np.full((12, 8), 50, np.uint8), mark).shape == (12, 8)
