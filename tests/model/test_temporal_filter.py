"""What is left of earlier frames: where, how much, and for how long."""

from __future__ import annotations

import math

import pytest
import torch

from model.motion import Motion
from model.temporal_filter import TemporalFilter
from model.uncertainty import turn, uncertainty

BLACK, WHITE = torch.zeros(3, 8, 8), torch.ones(3, 8, 8)
FULL, NONE = torch.ones(1, 8, 8), torch.zeros(1, 8, 8)
SOURCE = object()


def shown(unsure: torch.Tensor, *times: float) -> list[float]:
    """How bright what was black at first is after it has become white, at times since then."""
    chain = TemporalFilter()
    chain.follow(BLACK, unsure, SOURCE, 10.0)
    return [float(chain.follow(WHITE, unsure, SOURCE, 10.0 + time).mean()) for time in times]


def test_nothing_is_kept_where_all_is_certain() -> None:
    assert shown(NONE, 0.04) == [1.0]


def test_of_what_is_uncertain_a_third_is_kept_for_a_frame() -> None:
    first, second = shown(FULL, 0.04, 0.08)
    assert 1 - first == pytest.approx(math.exp(-1))
    assert 1 - second == pytest.approx(math.exp(-2))


def test_what_is_kept_depends_on_time_not_on_the_number_of_frames() -> None:
    assert shown(FULL, 0.02, 0.04)[-1] == pytest.approx(shown(FULL, 0.04)[-1])


def test_long_after_nothing_is_left() -> None:
    assert shown(FULL, 1.0)[0] > 0.999


@pytest.mark.parametrize(("source", "at"), [(object(), 10.04), (SOURCE, 9.0)])
def test_another_source_image_or_an_earlier_time_begins_anew(source: object, at: float) -> None:
    chain = TemporalFilter()
    chain.follow(BLACK, FULL, SOURCE, 10.0)
    assert chain.follow(WHITE, FULL, source, at).equal(WHITE)


def test_detail_is_filtered_everywhere_and_apart_from_the_frame() -> None:
    chain = TemporalFilter()
    line = BLACK[:1]
    assert chain.follow_detail(line, SOURCE, 10.0).equal(line)
    chain.follow(WHITE, FULL, SOURCE, 10.04)
    kept = chain.follow_detail(line + 1, SOURCE, 10.04)
    torch.testing.assert_close(kept, line + 1 - math.exp(-0.5))
    assert chain.follow_detail(line, object(), 10.08).equal(line)


def test_beneath_detail_what_hardly_changes_is_filtered_and_what_moves_is_not() -> None:
    change = torch.tensor([0.001, 0.01, 0.2])
    chain, grey = TemporalFilter(), torch.full((3, 1, 3), 0.5)
    chain.follow(grey, NONE[:, :1, :3], SOURCE, 10.0, beneath_detail=True)
    seen = chain.follow(grey + change, NONE[:, :1, :3], SOURCE, 10.04, beneath_detail=True)
    kept = 1 - (seen - grey)[0, 0] / change
    third = math.exp(-0.5) * math.exp(-1)
    torch.testing.assert_close(kept, torch.tensor([math.exp(-0.51), third, 0.0]), atol=1e-3, rtol=0)


def test_one_colour_that_changes_is_a_change() -> None:
    chain, red = TemporalFilter(), torch.tensor([0.2, 0.0, 0.0])[:, None, None]
    chain.follow(BLACK, NONE, SOURCE, 10.0, beneath_detail=True)
    assert chain.follow(BLACK + red, NONE, SOURCE, 10.04, beneath_detail=True).equal(BLACK + red)


def heads(yaw: list[float], roll: float = 0.0) -> Motion:
    angle, none = torch.tensor(yaw), torch.zeros(len(yaw))
    return Motion(angle, none, none + roll, torch.zeros(len(yaw), 3), none + 1, torch.zeros(len(yaw), 1, 3))


def test_turns_count_about_every_axis() -> None:
    torch.testing.assert_close(
        turn(heads([5.0, 5.0]), heads([5.0, 25.0])), torch.tensor([0.0, 20.0]), atol=0.05, rtol=0
    )
    torch.testing.assert_close(turn(heads([0.0]), heads([0.0], roll=12.0)), torch.tensor([12.0]), atol=0.05, rtol=0)


def test_the_face_is_never_uncertain_and_the_rest_the_more_the_further_the_head_has_turned() -> None:
    face = torch.tensor([[-0.4, -0.5], [0.4, -0.5], [0.0, -0.5], [0.4, 0.5], [-0.4, 0.5]]).expand(3, -1, -1)
    unsure = uncertainty(torch.tensor([2.0, 9.0, 30.0]), face, 256)
    assert unsure.shape == (3, 1, 256, 256)
    assert not unsure[0].any()
    assert not unsure[:, 0, 128 - 38 : 128 + 38, 128 - 30 : 128 + 30].any()  # within the oval of 0.4 by 0.5
    assert unsure[1, 0, 128, 4] == pytest.approx(0.5)
    assert unsure[2, 0, 128, 4] == 1
    assert 0 < unsure[2, 0, 128, 128 + int(128 * 0.4 * 1.07)] < 1  # soft at the rim
