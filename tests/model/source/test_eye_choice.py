"""Which eyes become windows."""

from __future__ import annotations

import numpy as np

from model.source.eye_choice import EyeSearch
from tests.model.eyes import SKIN, eyes, picture


def searched(looks: list[tuple[float, float]], missing: int = -1) -> EyeSearch:
    search = EyeSearch()
    for index, (opening, aside) in enumerate(looks):
        points = eyes(opening, aside)
        search.consider(picture(points), points, measured=index != missing)
    return search


def test_closed_lids_and_looks_aside_become_windows() -> None:
    looks = [(0.7, 0.0)] * 8 + [(0.05, 0.0)] * 4 + [(0.7, 0.5)] * 4
    found = searched(looks).best(0, 8)
    assert {looks[index] for index, _ in found} == {(0.05, 0.0), (0.7, 0.5)}
    np.testing.assert_array_equal(found[0][1], eyes(*looks[found[0][0]]))


def test_eyes_like_the_source_images_become_none() -> None:
    assert searched([(0.7, 0.0)] * 6).best(0, 8) == []
    assert EyeSearch().best(0, 8) == []


def test_eyes_behind_a_hand_become_none() -> None:
    looks = [(0.7, 0.0)] * 8 + [(0.05, 0.0)] * 4
    search = EyeSearch()
    for index, look in enumerate(looks):
        points = eyes(*look)
        crop = picture(points)
        if index >= 8:
            crop[80:120, :126] = SKIN  # over the left eye
        search.consider(crop, points, measured=True)
    assert search.best(0, 8) == []


def test_a_face_that_was_not_measured_becomes_none() -> None:
    assert searched([(0.7, 0.0)] * 5 + [(0.05, 0.0)], missing=5).best(0, 8) == []
