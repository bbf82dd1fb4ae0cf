"""Which frames of a film become windows of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import EYE_KEYPOINTS, MOUTH, SMALL
from model.source.eye_choice import eye_points
from model.source.mouth_choice import mouth_points
from model.source.window_search import WindowPlace, WindowSearch
from tests.model.eyes import eyes
from tests.model.eyes import picture as eyes_picture
from tests.model.mouths import lips
from tests.model.mouths import picture as mouth_picture

STILL = CanonicalKeypoints(np.zeros((SMALL.keypoints, 3), np.float32))
CLOSED = mouth_picture(lips(0.0))


def mouth(opening: float) -> Motion:
    """A head that looks ahead, with this mouth, and open eyes."""
    vector = np.zeros(11 + 3 * SMALL.keypoints + 128, np.float32)
    vector[3] = 1
    expression = vector[11 : 11 + 3 * SMALL.keypoints].reshape(-1, 3)
    expression[list(MOUTH), :2] = lips(opening)
    expression[np.array(EYE_KEYPOINTS), :2] = eyes(0.7, 0.0)
    return Motion.from_vector(vector)


def test_a_blurred_or_hidden_mouth_is_no_window() -> None:
    search = WindowSearch()
    for index, opening in enumerate((0.0, 0.0, 1.0, 1.0, 1.0)):
        crop = mouth_picture(lips(opening))
        crop = np.full_like(crop, 128) if index == 2 else crop
        search.consider(crop, STILL, mouth(opening), measured=index != 3)
    assert [place.frame for place in search.best(0, CLOSED)] == [4]


def face(opening: float, look: float) -> NDArray[np.uint8]:
    crop = mouth_picture(lips(opening))
    crop[:128] = eyes_picture(eyes(look, 0.0))[:128]
    return crop


@pytest.mark.parametrize(("most", "kinds"), [((8, 8), [2, 3]), ((8, 0), [2]), ((0, 8), [3]), ((0, 0), [])])
def test_each_kind_has_its_own_number(most: tuple[int, int], kinds: list[int]) -> None:
    search = WindowSearch(*most)
    for opening, look in ((0.0, 0.7), (1.0, 0.7), (0.0, 0.05)):
        motion = mouth(opening)
        motion.expression[np.array(EYE_KEYPOINTS), :2] = eyes(look, 0.0)
        search.consider(face(opening, look), STILL, motion, measured=True)
    assert [place.points.ndim for place in search.best(0, face(0.0, 0.7))] == kinds


def test_no_frames_no_windows() -> None:
    assert WindowSearch().best(0, CLOSED) == []


@pytest.mark.parametrize("points", [lips(0.9), eyes(0.5, 0.1)], ids=["mouth", "eyes"])
def test_a_window_is_cut_where_its_frame_is_told_to_be(points: NDArray[np.float32]) -> None:
    told = mouth(1.0)
    place = WindowPlace(3, points).told(STILL, told)
    assert place.frame == 3
    wanted = (mouth_points if points.ndim == 2 else eye_points)(STILL, told)
    np.testing.assert_array_equal(place.points, wanted)


@pytest.mark.parametrize("points", [lips(0.9), eyes(0.5, 0.1)], ids=["mouth", "eyes"])
def test_where_nothing_can_be_cut_it_stays(points: NDArray[np.float32]) -> None:
    told = mouth(1.0)
    told.translation[0] = 2
    assert WindowPlace(3, points).told(STILL, told).points is points
