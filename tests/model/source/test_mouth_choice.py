"""Which mouths become windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.source.mixing import Sights
from model.source.mixing import choose_windows as choose
from model.source.mouth_choice import (
    COVERED,
    UNCOVERED,
    CallMouth,
    CoveredMouth,
    MouthSearch,
    bare_skin,
    skin_unevenness,
)
from model.source.texture import MOUTH_TEXTURE
from model.window.corners import corner_coordinates
from model.window.mouth import NEARNESS, shape_distance
from tests.model.mouths import lips, picture

OPENINGS = [0.0] * 20 + [0.5] * 10 + [1.0] * 10
SHAPES = np.stack([corner_coordinates(lips(opening)) for opening in OPENINGS])
TEXTURES = np.stack([MOUTH_TEXTURE.texture(picture(lips(opening)), lips(opening)) for opening in OPENINGS])
ALL = np.ones(len(SHAPES), bool)


def choose_windows(
    shapes: NDArray[np.float32], textures: NDArray[np.float32], source: int, clear: NDArray[np.bool_], count: int
) -> list[int]:
    return choose([Sights(shapes, textures, shape_distance, NEARNESS)], source, clear, count)


def chosen(count: int, clear: np.ndarray = ALL, source: int = 0) -> list[float]:
    """Openings of the chosen ones."""
    return [OPENINGS[i] for i in choose_windows(SHAPES, TEXTURES, source, clear, count)]


def test_what_the_source_image_covers_least_comes_first() -> None:
    assert chosen(1) in ([0.5], [1.0])
    assert sorted(chosen(2)) == [0.5, 1.0]


def test_no_more_than_help() -> None:
    assert sorted(chosen(8)) == [0.5, 1.0]
    assert choose_windows(SHAPES[:20], TEXTURES[:20], 0, ALL[:20], 8) == []


def test_one_shape_with_two_looks_gets_the_commoner_look() -> None:
    """Lips alone do not tell whether teeth are seen: of frames with one shape the texture decides."""
    textures = TEXTURES.copy()
    rare = [20, 21]
    textures[rare] = textures[rare][:, ::-1]
    (found,) = choose_windows(SHAPES[:30], textures[:30], 0, ALL[:30], 1)
    assert found in set(range(22, 30))


def test_one_window_gives_way_where_two_others_are_better_together() -> None:
    openings = np.array([0.0] * 4 + [0.3] * 6 + [0.5] * 2 + [0.7] * 6)
    shapes = np.stack([corner_coordinates(lips(float(opening))) for opening in openings])
    textures = np.stack(
        [MOUTH_TEXTURE.texture(picture(lips(float(opening))), lips(float(opening))) for opening in openings]
    )
    found = choose_windows(shapes, textures, 0, np.ones(len(openings), bool), 2)
    assert sorted(openings[found]) == [0.3, 0.7]


def test_only_clear_frames() -> None:
    assert set(chosen(8, np.array(OPENINGS) != 1.0)) == {0.5}
    assert chosen(8, ~ALL) == []


def test_long_clips_are_looked_at_in_part() -> None:
    shapes, textures = np.concatenate([SHAPES] * 50), np.concatenate([TEXTURES] * 50)
    found = choose_windows(shapes, textures, 0, np.ones(len(shapes), bool), 8)
    assert len(found) == 2


def test_no_frames_no_windows() -> None:
    assert MouthSearch().best(0, picture(lips(0.0)), ALL[:0], 8) == []


def test_a_mouth_behind_fingers_is_no_window_nor_one_beside_it() -> None:
    search = MouthSearch()
    bare, covered = picture(lips(0.8)), picture(lips(0.8))
    covered[:, 108:116] = 60  # a finger's shadow beside the lips
    covered[:, 116:124] = 250
    for index in range(40):
        crop = picture(lips(0.0)) if index < 12 else (covered if index == 16 else bare)
        search.consider(crop, lips(0.0 if index < 12 else 0.8), measured=True)
    assert [i for i, _ in search.best(0, picture(lips(0.0)), np.ones(40, bool), 8)] == [39]
    assert np.flatnonzero(~search.bare()).tolist() == list(range(1, 32))
    unevenness = [skin_unevenness(crop, lips(0.8)) for crop in (bare, covered)]
    assert unevenness[0] < bare_skin(0.0) < unevenness[1]
    assert bare_skin(0.2) == 0.2 * COVERED


def test_a_mouth_stays_covered_until_its_skin_is_clearly_bare() -> None:
    mouth = CoveredMouth()
    between = (1 + UNCOVERED) / 2
    seen = [mouth.update(unevenness, 1.0) for unevenness in (between, 1.1, between, np.nan, 0.9 * UNCOVERED, between)]
    assert seen == [False, True, True, True, False, False]


def test_a_call_learns_what_is_usual_from_bare_mouths_alone() -> None:
    speaks = np.linspace(0.1, 0.28, 40)
    mouth = CallMouth(0.1)
    assert not any(mouth.update(one) for one in speaks)  # 2.8 times what the source image has
    usual = float(np.median(speaks))
    for _ in range(1000):
        assert mouth.update(2.01 * usual)  # a hand that stays teaches nothing
    assert mouth.update(0.9 * COVERED * usual)
    assert not mouth.update(0.99 * UNCOVERED * COVERED * usual)


def test_a_hand_from_the_first_is_covered() -> None:
    mouth = CallMouth(0.1)
    assert [mouth.update(one) for one in (0.25, 0.25, 0.1, 0.1, 0.25)] == [True, True, False, False, True]


def test_beside_a_source_image_whose_mouth_cannot_be_seen_none_is_covered() -> None:
    mouth = CallMouth(np.inf)
    assert not any(mouth.update(one) for one in (0.1, 5.0, np.nan, 0.1))
