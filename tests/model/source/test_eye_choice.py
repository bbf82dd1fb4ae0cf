"""Which eyes become windows."""

from __future__ import annotations

import numpy as np

from model.source.eye_choice import EyeSearch
from tests.model.eyes import SKIN, eyes, picture

OPEN = (0.7, 0.0)
SOURCE = picture(eyes(*OPEN))


def found(looks: list[tuple[float, float]]) -> list[int]:
    search = EyeSearch()
    for look in looks:
        search.consider(picture(eyes(*look)), eyes(*look))
    return [index for index, _ in search.best(0, SOURCE, np.ones(len(looks), bool), 8)]


def test_closed_lids_and_looks_aside_become_windows() -> None:
    looks = [OPEN] * 8 + [(0.05, 0.0)] * 4 + [(0.7, 0.5)] * 4
    assert {looks[index] for index in found(looks)} == {(0.05, 0.0), (0.7, 0.5)}


def test_eyes_like_the_source_images_become_none() -> None:
    assert found([OPEN] * 6) == []
    assert found([]) == []


def test_eyes_behind_a_hand_become_none() -> None:
    search = EyeSearch()
    for index in range(12):
        points = eyes(*OPEN) if index < 8 else eyes(0.05, 0.0)
        crop = picture(points)
        if index >= 8:
            crop[80:120, :126] = SKIN  # over the left eye
        search.consider(crop, points)
    assert search.best(0, SOURCE, np.ones(12, bool), 8) == []
