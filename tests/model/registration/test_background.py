"""How far a background has moved: films of a painted wall behind a painted head, with a known camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.face.crop import Crop
from model.keypoint_layout import KeypointLayout
from model.motion import Motion, background_since, turned_and_sized
from model.registration.background import REACH, BackgroundTracker
from model.registration.similarity import THUMBNAIL, GreyPyramid, thumbnail
from model.registration.tracker import track

STILL = np.zeros(4, np.float32)
Film = list[tuple[GreyPyramid, Motion]]


def head(x: float = 0.0, y: float = 0.1, scale: float = 0.4) -> Motion:
    zero = np.float32(0)
    place = np.array([x, y, 0], np.float32)
    return Motion(zero, zero, zero, place, np.float32(scale), np.zeros((1, 3), np.float32))


def wall(seed: int = 0, contrast: float = 1.0) -> torch.Tensor:
    """(1, 1, 512, 512) blurred noise, grey values 0 ... 255, that spans crop units -2 ... 2."""
    noise = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, size=(512, 512), mode="bicubic", align_corners=False).clamp(0, 1)
    return 128 + contrast * 255 * (smooth - 0.5)


def photograph(scene: torch.Tensor, place: NDArray[np.float32], motion: Motion) -> NDArray[np.uint8]:
    """The crop (256, 256, 3): the wall at `place`, and a plain head before it."""
    line = (torch.arange(256) * 2 + 1) / 256 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    back = torch.from_numpy(background_since(STILL, place))
    u, v = turned_and_sized(x, y, back[2], back[3])
    grid = torch.stack([u + back[0], v + back[1]], -1)[None] / 2
    picture = F.grid_sample(scene, grid, padding_mode="border", align_corners=False)[0, 0]
    dx, dy = ((a - float(m)) / float(motion.scale) for a, m in zip((x, y), motion.translation[:2], strict=True))
    picture = torch.where((dx / 0.7) ** 2 + (dy / 0.95) ** 2 < 1, 70.0, picture)  # a head
    picture = torch.where((dy > 0.9) & (dx.abs() < 2), 40.0, picture)  # and shoulders
    return np.repeat(picture.round().clamp(0, 255).byte().numpy()[..., None], 3, -1)


def film(place_at: Callable[[int], NDArray[np.float32]], count: int = 12, contrast: float = 1.0) -> Film:
    """Frames as the tracker is told of them: the head sways, the wall is where `place_at` says."""
    scene = wall(contrast=contrast)
    motions = [head(x=0.1 * np.sin(i)) for i in range(count)]
    return [(GreyPyramid(thumbnail(photograph(scene, place_at(i), m))), m) for i, m in enumerate(motions)]


def place(x: float = 0, y: float = 0, size: float = 0, roll: float = 0) -> NDArray[np.float32]:
    return np.array([x, y, size, roll], np.float32)


def test_a_still_background_is_exactly_still() -> None:
    tracker = BackgroundTracker()
    for small, motion in film(lambda i: STILL):
        np.testing.assert_array_equal(tracker.follow(small, motion), STILL)


@pytest.mark.parametrize(
    "speed", [place(0.01, -0.004), place(size=0.006), place(roll=0.5), place(-0.008, 0.005, -0.003, -0.3)]
)
def test_a_moving_background_is_followed(speed: NDArray[np.float32]) -> None:
    tracker = BackgroundTracker()
    for i, (small, motion) in enumerate(film(lambda i: i * speed, count=10)):
        found = tracker.follow(small, motion)
        np.testing.assert_allclose(found[:3], i * speed[:3], atol=0.006)  # under a pixel of 256
        assert found[3] == pytest.approx(i * speed[3], abs=0.4)


def test_forwards_and_backwards_from_the_source_image() -> None:
    frames = film(lambda i: place(0.01 * i), count=13)
    motions = Motion(*(np.stack([getattr(m, name) for _, m in frames]) for name in vars(frames[0][1])))
    places = track(np.stack([small.grey for small, _ in frames]), motions, 6, KeypointLayout(1)).background
    np.testing.assert_array_equal(places[6], STILL)
    np.testing.assert_allclose(places[:, 0], 0.01 * (np.arange(13) - 6), atol=0.005)


def test_what_goes_beyond_reach_is_held_there() -> None:
    tracker = BackgroundTracker()
    found = STILL
    for small, motion in film(lambda i: place(0.03 * i), count=15):
        found = tracker.follow(small, motion)
    assert found[0] == pytest.approx(REACH, abs=1e-3)


def test_a_head_that_sways_before_a_plain_wall_moves_no_background() -> None:
    tracker = BackgroundTracker()
    for small, motion in film(lambda i: STILL, contrast=0.0):
        np.testing.assert_array_equal(tracker.follow(small, motion), STILL)


def test_exposure_is_no_movement() -> None:
    tracker = BackgroundTracker()
    for i, (small, motion) in enumerate(film(lambda i: STILL)):
        dimmed = GreyPyramid((small.grey * (1 - 0.02 * i) + i).astype(np.uint8))
        assert np.abs(tracker.follow(dimmed, motion)[:2]).max() < 0.005


def test_a_hand_before_the_lens_loses_nothing() -> None:
    tracker = BackgroundTracker()
    frames = film(lambda i: place(0.008 * i), count=16)
    source = None
    for i, (small, motion) in enumerate(frames):
        shown = GreyPyramid(np.full_like(small.grey, 200)) if 6 <= i < 10 else small
        found = tracker.follow(shown, motion, source)
        source = source or tracker.backdrop()
        if i < 6:
            assert found[0] == pytest.approx(0.008 * i, abs=0.005)
    assert found[0] == pytest.approx(0.008 * 15, abs=0.005)


def test_since_a_later_source_image() -> None:
    tracker = BackgroundTracker()
    source = None
    for i, (small, motion) in enumerate(film(lambda i: place(0.01 * i), count=12)):
        found = tracker.follow(small, motion, source)
        if i == 5:
            source = tracker.backdrop()
        if i > 5:
            assert found[0] == pytest.approx(0.01 * (i - 5), abs=0.005)


def test_a_crop_that_jumps_is_told() -> None:
    before, after = Crop(300, 240, 200), Crop(380, 250, 230)
    change = before.motion_to(after)
    # A point of the frame, in both crops.
    x, y = 330.0, 270.0
    old = np.array([(x - before.x) * 2 / before.side, (y - before.y) * 2 / before.side])
    new = np.array([(x - after.x) * 2 / after.side, (y - after.y) * 2 / after.side])
    moved = np.array(turned_and_sized(old[0], old[1], change[2], change[3])) + change[:2]
    np.testing.assert_allclose(moved, new, atol=1e-6)

    tracker = BackgroundTracker()
    far = place(0.14)
    (first, second) = film(lambda i: i * far, count=2)
    tracker.follow(*first)
    np.testing.assert_allclose(tracker.follow(*second, expected=far), far, atol=0.005)


@given(st.lists(st.floats(-0.3125, 0.3125, width=32), min_size=8, max_size=8))
def test_places_since_places(values: list[float]) -> None:
    now, then = np.array(values[:4], np.float32), np.array(values[4:], np.float32)
    now[3] *= 40
    then[3] *= 40
    since = background_since(now, then)
    point = np.array([0.4, -0.7])

    def at(where: NDArray[np.float32], p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(turned_and_sized(p[0], p[1], np.float64(where[2]), np.float64(where[3]))) + where[:2]

    np.testing.assert_allclose(at(since, at(then, point)), at(now, point), atol=1e-5)
    np.testing.assert_allclose(background_since(now, now), STILL, atol=1e-6)


def test_thumbnails_of_other_sizes() -> None:
    assert thumbnail(np.full((512, 512, 3), 9, np.uint8)).shape == (THUMBNAIL, THUMBNAIL)
    with pytest.raises(ValueError, match="no frame"):
        BackgroundTracker().backdrop()
