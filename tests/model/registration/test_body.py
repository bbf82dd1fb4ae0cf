"""Where a body has gone: films of a checked shirt below a head, with shoulders that move as is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.keypoint_layout import KeypointLayout
from model.motion import Motion
from model.registration.body import BodyTracker, points_of, with_points
from model.registration.similarity import GreyPyramid, moved, thumbnail
from model.registration.tracker import MotionTracker, track

SHOULDERS = np.array([[-0.6, 0.88], [0.6, 0.88], [0.0, 0.85]], np.float32)
LAYOUT = KeypointLayout(5, body_count=3)
Film = list[tuple[GreyPyramid, Motion]]


def motion(said: NDArray[np.float32], x: float = 0.0) -> Motion:
    """A small head at (x, -0.2) whose extractor has the body's keypoints shifted by `said`."""
    zero, place = np.float32(0), np.array([x, -0.2, 0], np.float32)
    head = Motion(zero, zero, zero, place, np.float32(0.45), np.zeros((5, 3), np.float32))
    return with_points(head, SHOULDERS + said, LAYOUT)


def photograph(shift: NDArray[np.float32], contrast: float = 1.0) -> NDArray[np.uint8]:
    """(256, 256, 3): a still wall; below the chin a shirt of blurred noise that has gone by `shift`."""
    noise = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    wall, shirt = 128 + contrast * 200 * (F.interpolate(noise, size=(512, 512), mode="bicubic").clamp(0, 1) - 0.5)
    line = (torch.arange(256) * 2 + 1) / 256 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    u, v = x - float(shift[0]), y - float(shift[1])
    grid = torch.stack([u, v], -1)[None] / 2
    cloth = F.grid_sample(shirt[None], grid, align_corners=False)[0, 0]
    back = F.grid_sample(wall[None], torch.stack([x, y], -1)[None] / 2, align_corners=False)[0, 0]
    picture = torch.where((v > 0.15) & (u.abs() < 0.3 + 1.2 * (v - 0.15)), cloth, back)
    return np.repeat(picture.round().clamp(0, 255).byte().numpy()[..., None], 3, -1)


def film(speed: tuple[float, float], count: int = 8, jitter: float = 0.05, contrast: float = 1.0) -> Film:
    """Frames and what the extractor says of them, which is off by `jitter` (one sigma, crop units)."""
    rng = np.random.default_rng(0)
    shifts = [np.array(speed, np.float32) * i for i in range(count)]
    off = [rng.normal(0, jitter, 2).astype(np.float32) if i else np.zeros(2, np.float32) for i in range(count)]
    return [
        (GreyPyramid(thumbnail(photograph(s, contrast))), motion(s + o, x=0.02 * i))
        for i, (s, o) in enumerate(zip(shifts, off, strict=True))
    ]


@pytest.mark.parametrize("speed", [(0.015, 0.0), (-0.01, 0.02), (0.0, -0.015)])
def test_a_moving_body_is_followed_whatever_the_extractor_says(speed: tuple[float, float]) -> None:
    frames = film(speed)
    tracker = BodyTracker(*frames[0], LAYOUT)
    for i, (small, said) in enumerate(frames[1:], 1):
        found = points_of(tracker.follow(small, said), LAYOUT)
        assert tracker.measured
        np.testing.assert_allclose(found, SHOULDERS + np.array(speed) * i, atol=0.008)  # a pixel of 256


def test_a_still_body_is_exactly_still() -> None:
    frames = film((0.0, 0.0))
    tracker = BodyTracker(*frames[0], LAYOUT)
    places = []
    for small, said in frames[1:]:
        tracker.follow(small, said)
        places.append(np.array(tracker.place))
    assert all(np.array_equal(place, places[0]) for place in places)  # from the second frame on; the first may be off


def test_plain_clothes_leave_it_to_the_extractor() -> None:
    frames = film((0.01, 0.0), contrast=0.0)
    tracker = BodyTracker(*frames[0], LAYOUT)
    for small, said in frames[1:]:
        np.testing.assert_allclose(points_of(tracker.follow(small, said), LAYOUT), points_of(said, LAYOUT), atol=1e-5)
        assert not tracker.measured


def test_a_hand_before_the_shirt_is_waited_for() -> None:
    frames = film((0.01, 0.0), count=12, jitter=0.0)
    tracker = BodyTracker(*frames[0], LAYOUT)
    for i, (small, said) in enumerate(frames[1:], 1):
        shown = GreyPyramid(np.full_like(small.grey, 200)) if 4 <= i < 7 else small
        found = points_of(tracker.follow(shown, said), LAYOUT)
        # While it cannot be seen the body rests where it was, or goes on as the extractor says.
        np.testing.assert_allclose(found, SHOULDERS + np.array([0.01 * i, 0]), atol=0.035 if 4 <= i < 7 else 0.01)


def test_places_and_back() -> None:
    frame = motion(np.array([0.1, -0.05], np.float32), x=0.3)
    np.testing.assert_allclose(points_of(frame, LAYOUT), SHOULDERS + np.array([0.1, -0.05]), atol=1e-6)
    np.testing.assert_array_equal(frame.expression[:-3], np.zeros((2, 3)))


def test_a_clip_from_its_source_image_on_and_back() -> None:
    frames = film((0.01, 0.0), count=9)
    motions = Motion.stack([m for _, m in frames])
    followed = track(np.stack([small.grey for small, _ in frames]), motions, 4, LAYOUT)
    there = points_of(motions[4], LAYOUT)
    for i in range(9):
        wanted = moved(there, np.array([0.01 * (i - 4), 0, 0, 0], np.float32))
        np.testing.assert_allclose(points_of(followed[i], LAYOUT), wanted, atol=0.01)
    np.testing.assert_array_equal(followed.expression[:, :-3], motions.expression[:, :-3])
    assert not followed.background.any()


def test_without_a_source_image_or_a_body_the_extractors_word_holds() -> None:
    frames = film((0.01, 0.0))
    alone, bodiless = MotionTracker(LAYOUT), MotionTracker(KeypointLayout(5))
    reference = None
    for small, said in frames:
        np.testing.assert_array_equal(alone.follow(small, said).expression, said.expression)
        np.testing.assert_array_equal(bodiless.follow(small, said, reference).expression, said.expression)
        reference = reference or bodiless.reference(small, said)
