"""Windows that draw a clip better than what they were cut from, and know nothing of what covers mouths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.clip.mouth_patches import MouthPatches, drawn_places, is_drawn
from model.clip.window_fitting import FITTING_STEPS, fitted
from model.clip.window_mixing import StackedWindows, counting_most, mixed_colours, window_weights
from model.networks.small.mouth import MouthWindows, draw_mouth
from model.window.mouth import MouthWindow, cut_window
from tests.model.mouths import face, lips, picture

DARK, TONGUE = (60, 20, 20), (150, 80, 90)
HALF = 0.18
SOURCE, WINDOWS, OTHERS = 0, [1, 2], slice(3, None)
OPENINGS = [0.0, 0.8, 1.0, *np.linspace(0.8, 1.0, 12)]
"""The source image's; two windows'; frames between."""
LIPS = np.stack([lips(opening, half=HALF) for opening in OPENINGS])
BARE = np.ones(len(OPENINGS), bool)


def filmed(inside: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Pictures of those mouths, with something of a colour in each."""
    return np.stack([picture(points, colour) for points, colour in zip(LIPS, inside, strict=True)])


def cut(pictures: NDArray[np.uint8]) -> list[MouthWindow]:
    return [cut_window(pictures[frame], LIPS[frame]) for frame in WINDOWS]


def difference(windows: list[MouthWindow], pictures: NDArray[np.uint8]) -> float:
    """Mean difference from the film of what a receiver draws over it, of the frames between."""
    beside = MouthWindows.of(windows, face(LIPS[SOURCE]))
    off = []
    for frame in range(len(OPENINGS))[OTHERS]:
        true = torch.from_numpy(pictures[frame]).permute(2, 0, 1)
        off.append((draw_mouth(true, beside, face(LIPS[frame])).float() - true.float()).abs().mean())
    return float(np.mean(off))


def test_windows_draw_a_clip_better_than_what_they_were_cut_from() -> None:
    shown = filmed([DARK, DARK, DARK, *[TONGUE] * 12])  # the windows were cut where no tongue is
    windows = cut(shown)
    steps: list[None] = []
    with torch.inference_mode():  # as evaluation calls it
        found = fitted(windows, LIPS, MouthPatches.of(shown, LIPS), SOURCE, BARE, lambda: steps.append(None))
    assert difference(found, shown) < 0.7 * difference(windows, shown)
    assert len(steps) == FITTING_STEPS
    for before, after in zip(windows, found, strict=True):
        assert after.picture.dtype == np.uint8
        assert after.picture.shape == before.picture.shape
        np.testing.assert_array_equal(after.points, before.points)
        assert (after.middle, after.half) == (before.middle, before.half)


def test_a_clip_that_is_drawn_well_changes_hardly_anything() -> None:
    dark = filmed([DARK] * len(OPENINGS))
    windows = cut(dark)
    found = fitted(windows, LIPS, MouthPatches.of(dark, LIPS), SOURCE, BARE)
    for before, after in zip(windows, found, strict=True):
        assert np.abs(after.picture.astype(int) - before.picture.astype(int)).mean() < 6


def test_what_covers_a_mouth_does_not_come_into_windows() -> None:
    dark, bare = filmed([DARK] * len(OPENINGS)), BARE.copy()
    hand = dark.copy()
    hand[6:] = (200, 150, 130)
    bare[6:] = False
    clean, found = (fitted(cut(dark), LIPS, MouthPatches.of(one, LIPS), SOURCE, bare) for one in (dark, hand))
    for a, b in zip(clean, found, strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)


def test_nothing_to_draw_changes_nothing() -> None:
    dark = filmed([DARK] * len(OPENINGS))
    patches = MouthPatches.of(dark, LIPS)
    assert fitted([], LIPS, patches, SOURCE, BARE) == []
    windows = cut(dark)
    steps: list[None] = []
    found = fitted(windows, LIPS, patches, SOURCE, ~BARE, lambda: steps.append(None))
    for before, after in zip(windows, found, strict=True):
        np.testing.assert_array_equal(after.picture, before.picture)
    assert len(steps) == FITTING_STEPS


def test_of_a_long_clip_some_frames_do(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = filmed([DARK, DARK, DARK, *[TONGUE] * 12])
    monkeypatch.setattr("model.clip.window_fitting._MOST_FRAMES", 5)
    found = fitted(cut(shown), LIPS, MouthPatches.of(shown, LIPS), SOURCE, BARE)
    assert difference(found, shown) < 0.8 * difference(cut(shown), shown)


def test_what_is_mixed_is_what_a_receiver_draws() -> None:
    painted, frames = filmed([DARK] * len(OPENINGS)), np.arange(3, len(OPENINGS))
    windows = cut(filmed([(240, 240, 235)] * len(OPENINGS)))
    weights = window_weights(windows, LIPS, SOURCE)[:, frames]
    stacked, here = StackedWindows.of(windows), torch.from_numpy(LIPS[frames])
    place = drawn_places(here)
    mixed, counts = counting_most(weights, len(windows))
    colours = mixed_colours(stacked.pictures, mixed, counts, stacked.places(here, place, mixed), "bicubic")
    beside, inside = MouthWindows.of(windows, face(LIPS[SOURCE])), is_drawn(place, here)
    off, plain = [], []
    for index, frame in enumerate(frames):
        before = torch.from_numpy(painted[frame]).permute(2, 0, 1)
        drawn = draw_mouth(before, beside, face(LIPS[frame]))
        both = torch.stack([before, drawn]).float() / 255
        at = place[index][None, None].expand(2, -1, -1, -1)
        below, there = F.grid_sample(both, at, mode="nearest", align_corners=False)[:, :, 0]
        expected = torch.lerp(below, colours[index], float(weights[:, index].sum()))  # what is left is painted
        off.append((there - expected).abs().mean(0)[inside[index]])
        plain.append((there - below).abs().mean(0)[inside[index]])
    assert torch.cat(off).mean() < 0.2 * torch.cat(plain).mean()  # edges are read at the nearest pixel


def test_mouths_that_are_none_harm_no_others() -> None:
    dark = filmed([DARK] * len(OPENINGS))
    broken = LIPS.copy()
    broken[5], broken[6], broken[7] = np.nan, 0.0, 40.0
    found = fitted(cut(dark), broken, MouthPatches.of(dark, broken), SOURCE, BARE)
    for before, after in zip(cut(dark), found, strict=True):
        assert np.abs(after.picture.astype(int) - before.picture.astype(int)).mean() < 6
