"""When a publication's pictures are sharp: rules that take the time and what the engine has left."""

from __future__ import annotations

import pytest

from server.receiver.picture_size import ENOUGH, MOST_PATIENCE, PATIENCE, SHORT, PictureSize, SpareTime

SIZES = (256, 512)


def run(
    size: PictureSize, begin: float, seconds: float, spare: float | None, detailed: bool = True, always: bool = False
) -> list[int]:
    """Sizes at each second."""
    return [size.update(begin + i, spare, detailed, always=always) for i in range(round(seconds))]


def test_pictures_become_sharp_once_there_has_been_time_for_a_while() -> None:
    size = PictureSize(SIZES)
    assert run(size, 0.0, 6, ENOUGH) == [256] * int(PATIENCE) + [512] * 3


@pytest.mark.parametrize("spare", [None, 0.0, ENOUGH - 0.01])
def test_they_stay_small_where_there_is_no_time(spare: float | None) -> None:
    assert set(run(PictureSize(SIZES), 0.0, 100, spare)) == {256}


def test_they_stay_sharp_between_the_bounds_and_through_one_busy_moment() -> None:
    size = PictureSize(SIZES)
    run(size, 0.0, 5, 1.0)
    assert set(run(size, 5.0, 60, SHORT)) == {512}
    assert size.update(65.0, 0.0, True) == 512
    assert set(run(size, 66.0, 10, 0.2)) == {512}


def test_each_failure_doubles_the_wait_and_time_forgives() -> None:
    size, now, waits = PictureSize(SIZES), 0.0, []
    for _ in range(7):
        began = now
        while size.update(now, 1.0, True) == 256:
            now += 1.0
        waits.append(now - began)
        assert size.update(now + 1.0, 0.0, True) == 512
        assert size.update(now + 2.0, 0.0, True) == 256
        now += 3.0
    assert waits == [min(PATIENCE * 2**i, MOST_PATIENCE) for i in range(7)]
    run(size, now, 200, 1.0)  # sharp for long
    run(size, now + 200, 3, 0.0)
    assert run(size, now + 203, 10, 1.0).count(256) == 2 * PATIENCE


def test_a_source_image_without_detail_is_never_worth_it() -> None:
    size = PictureSize(SIZES)
    assert set(run(size, 0.0, 10, 1.0, detailed=False, always=True)) == {256}
    assert size.update(10.0, None, True, always=True) == 512
    assert size.update(11.0, None, False, always=True) == 256


def test_a_gpu_is_never_asked_and_a_profile_of_one_size_has_no_choice() -> None:
    assert run(PictureSize(SIZES), 0.0, 3, 0.0, always=True) == [512, 512, 512]
    assert set(run(PictureSize((256,)), 0.0, 3, 1.0, always=True)) == {256}


@pytest.mark.parametrize("always", [False, True])
def test_what_others_were_promised_comes_before_sharp_pictures(always: bool) -> None:
    size = PictureSize(SIZES)
    run(size, 0.0, 5, 1.0, always=always)
    assert size.size == 512
    assert size.update(5.0, 1.0, True, fits=False, always=always) == 256
    assert size.update(100.0, 1.0, True, fits=False, always=always) == 256
    back = run(size, 101.0, 6, 1.0, always=always)
    assert back == ([512] * 6 if always else [256] * 3 + [512] * 3), "and they come back without another wait"


def test_spare_time_is_the_share_since_the_last_call() -> None:
    spare = SpareTime()
    assert spare.update(10.0, 3.0) is None
    assert spare.update(11.0, 3.25) == pytest.approx(0.75)
    assert spare.update(13.0, 5.25) == 0.0
    assert spare.update(13.0, 5.25) is None
    assert spare.update(14.0, 9.0) == 0.0
