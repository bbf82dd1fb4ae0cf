"""The detector on a portrait in the public domain (NASA, Eileen Collins, as scikit-image carries it)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from model.errors import NoFaceError, SeveralFacesError
from model.face.finder import HeadFinder, clip_crop, still_crop
from model.face.tracker import HeadTracker

# The face's middle and height in the portrait, measured by hand.
X, Y, TALL = 222.0, 120.0, 102.0


@lru_cache(maxsize=1)
def portrait() -> NDArray[np.uint8]:
    return np.asarray(astronaut(), np.uint8)


def on_canvas(width: int, height: int, x: int, y: int, side: int) -> NDArray[np.uint8]:
    """The portrait at `side` pixels with its corner at (x, y) of a grey frame."""
    frame = np.full((height, width, 3), 90, np.uint8)
    picture = np.asarray(Image.fromarray(portrait()).resize((side, side)))
    frame[y : y + side, x : x + side] = picture[: height - y, : width - x]
    return frame


@pytest.fixture(scope="module")
def finder() -> HeadFinder:
    return HeadFinder()


@pytest.mark.parametrize("side", [320, 512, 1024])
def test_finds_the_face_at_any_size(finder: HeadFinder, side: int) -> None:
    scale = side / 512
    (face,) = (b for b in finder.find(on_canvas(1280, 1024, 100, 0, side)) if b.score > 0.6)
    assert np.hypot(face.x - 100 - X * scale, face.y - Y * scale) < 0.2 * TALL * scale
    assert 0.8 < face.height / (TALL * scale) < 1.3


def test_finds_nothing_in_noise(finder: HeadFinder) -> None:
    assert finder.find(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)) == []
    assert finder.find(np.zeros((1, 1, 3), np.uint8)) == []


def test_near_search_agrees_with_the_full_one(finder: HeadFinder) -> None:
    frame = on_canvas(1280, 720, 300, 100, 512)
    (face,) = (b for b in finder.find(frame) if b.score > 0.6)
    near = finder.find_near(frame, face)
    assert near is not None
    assert np.hypot(near.x - face.x, near.y - face.y) < 0.15 * face.height
    assert finder.find_near(frame, type(face)(1000, 600, 100)) is None


def test_still_crop_is_the_same_wherever_the_face_lies(finder: HeadFinder) -> None:
    a = still_crop(on_canvas(1280, 720, 100, 100, 512), finder)
    b = still_crop(on_canvas(1280, 720, 237, 141, 512), finder)
    assert abs(b.x - a.x - 137) < 8
    assert abs(b.y - a.y - 41) < 8
    assert abs(a.side / b.side - 1) < 0.08
    assert 1.8 * TALL < a.side < 2.8 * TALL


def test_still_crop_wants_exactly_one_face(finder: HeadFinder) -> None:
    with pytest.raises(NoFaceError):
        still_crop(np.zeros((300, 300, 3), np.uint8), finder)
    two = np.concatenate([portrait(), portrait()], 1)
    with pytest.raises(SeveralFacesError):
        still_crop(two, finder)


def test_clip_crop_covers_the_travel(finder: HeadFinder) -> None:
    crop = clip_crop((on_canvas(960, 640, 40 + 4 * i, 60, 512) for i in range(40)), finder)
    for i in (0, 39):
        assert crop.x - crop.side / 2 < 40 + 4 * i + X - 0.6 * TALL
        assert crop.x + crop.side / 2 > 40 + 4 * i + X + 0.6 * TALL
    with pytest.raises(NoFaceError):
        clip_crop(np.zeros((12, 200, 200, 3), np.uint8), finder)
    with pytest.raises(NoFaceError):
        clip_crop([], finder)
    with pytest.raises(SeveralFacesError):
        clip_crop([np.concatenate([portrait(), portrait()], 1)] * 10, finder)


def test_tracker_follows_the_portrait_across_the_frame(finder: HeadFinder) -> None:
    tracker = HeadTracker(finder)
    for i in range(60):
        crop = tracker.update(on_canvas(1280, 720, 4 * i, 100, 512))
        assert crop is not None
        assert abs(crop.x - (4 * i + X)) < 0.7 * TALL
