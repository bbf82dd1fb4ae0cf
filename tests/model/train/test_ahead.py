"""Batches made ahead are those that would have been made in time."""

from __future__ import annotations

import threading

import pytest

from model.train.ahead import Ahead


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_each_step_gets_its_own(depth: int) -> None:
    ahead = Ahead(lambda step: step * step, depth)
    try:
        assert [ahead.take(step) for step in (0, 1, 2, 3, 7, 8, 2)] == [0, 1, 4, 9, 49, 64, 4]
    finally:
        ahead.close()


def test_the_next_steps_are_begun_and_no_more() -> None:
    begun: list[int] = []
    coming = threading.Event()

    def make(step: int) -> int:
        begun.append(step)
        if step == 2:
            coming.set()
        return step

    ahead = Ahead(make, 2)
    try:
        assert ahead.take(0) == 0
        assert coming.wait(10)
        assert sorted(begun) == [0, 1, 2]
    finally:
        ahead.close()


def test_without_depth_nothing_is_begun() -> None:
    begun: list[int] = []
    ahead = Ahead(begun.append, 0)
    ahead.take(3)
    ahead.close()
    assert begun == [3]


def test_what_went_wrong_is_raised_where_it_is_asked_for() -> None:
    def make(step: int) -> int:
        return 1 // (step - 1)

    ahead = Ahead(make, 2)
    try:
        assert ahead.take(0) == -1
        with pytest.raises(ZeroDivisionError):
            ahead.take(1)
        assert ahead.take(2) == 1
    finally:
        ahead.close()


def test_closing_ends_the_threads() -> None:
    ahead = Ahead(lambda step: step, 3)
    ahead.take(0)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
