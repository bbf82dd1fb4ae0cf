"""Whose keypoints are whose."""

from __future__ import annotations

from model.keypoint_layout import KeypointLayout
from model.networks.small_config import BODY, FREE, GUIDED, SMALL

KEYPOINTS = list(range(8))


def test_face_head_and_body_lie_in_this_order() -> None:
    layout = KeypointLayout(8, face_count=3, body_count=2)
    assert KEYPOINTS[layout.face] == [0, 1, 2]
    assert KEYPOINTS[layout.head] == [0, 1, 2, 3, 4, 5]
    assert KEYPOINTS[layout.body] == [6, 7]
    assert layout.head_count == 6


def test_without_a_known_face_or_body_all_follow_the_head() -> None:
    layout = KeypointLayout(8)
    assert KEYPOINTS[layout.face] == KEYPOINTS[layout.body] == []
    assert KEYPOINTS[layout.head] == KEYPOINTS


def test_the_small_profile_has_guided_free_and_body_keypoints() -> None:
    assert SMALL.keypoints == SMALL.layout.count == len(GUIDED) + len(FREE) + len(BODY)
    assert (SMALL.layout.face_count, SMALL.layout.body_count) == (len(GUIDED), len(BODY))
