"""Which mouths of a call become windows: what is covered least, never too many bytes, told the time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from model.source.window_choice import (
    BETWEEN,
    LEAST_REMEMBERED,
    LOOK_EVERY,
    MOST_BYTES,
    MOUTH,
    SPAN,
    Budget,
    WindowChoice,
)
from model.window import MAX_WINDOW_BYTES
from model.window.corners import corner_coordinates
from model.window.mouth import MAX_WINDOWS
from tests.model.mouths import lips

CLOSED = corner_coordinates(lips(0.0))
FRAME = 1 / 25


class Talk:
    """A choice that is shown mouths, each for a frame; `sent` has the time, slot and opening of each window."""

    def __init__(self, size: int = 1000, clear: bool = True) -> None:
        self.choice = WindowChoice(MOUTH, Budget())
        self.now = 100.0
        self.size = size
        self.clear = clear
        self.sent: list[tuple[float, int, float]] = []

    def show(self, opening: float, seconds: float) -> None:
        shape = corner_coordinates(lips(opening))
        for _ in range(round(seconds / FRAME)):
            self.now += FRAME
            slot = self.choice.update(shape, CLOSED, self.clear, self.now)
            if slot is not None:
                self.choice.sent(slot, shape, self.size, self.now)
                self.sent.append((self.now, slot, opening))

    def speak(self, openings: list[float], seconds: float) -> None:
        """Each opening for a look, over and over."""
        end = self.now + seconds
        while self.now < end:
            for opening in openings:
                self.show(opening, LOOK_EVERY)


def test_closed_lips_beside_a_source_with_closed_lips_need_no_window() -> None:
    talk = Talk()
    talk.speak([0.0, 0.005], 60)
    assert talk.sent == []


def test_an_opened_mouth_gets_one_after_two_seconds_and_no_second() -> None:
    talk = Talk()
    talk.speak([0.0, 0.8], 60)
    assert [opening for _, _, opening in talk.sent] == [0.8]
    assert talk.sent[0][0] - 100 >= LEAST_REMEMBERED * LOOK_EVERY - LOOK_EVERY


def test_different_mouths_get_their_own_slots_with_time_between() -> None:
    talk = Talk()
    talk.speak([0.0, 0.4, 0.8, 1.2], 120)
    assert {opening for _, _, opening in talk.sent} == {0.4, 0.8, 1.2}
    assert [slot for _, slot, _ in talk.sent] == list(range(len(talk.sent)))
    assert all(after[0] - before[0] >= BETWEEN for before, after in pairwise(talk.sent))


def test_what_cannot_be_cut_is_not_asked_for() -> None:
    talk = Talk(clear=False)
    talk.speak([0.0, 0.8], 60)
    assert talk.sent == []


def test_a_window_that_was_not_sent_is_asked_for_again() -> None:
    choice = WindowChoice(MOUTH, Budget())
    shape = corner_coordinates(lips(0.8))
    asked = [choice.update(shape, CLOSED, True, 1.01 * LOOK_EVERY * i) for i in range(1, 40)]
    assert asked.count(0) > 1


def test_never_more_than_four_kilobits_a_second_over_a_minute() -> None:
    random = np.random.default_rng(1)
    talk = Talk(size=MAX_WINDOW_BYTES)
    for minute in range(8):  # a mouth that is never twice the same
        for _ in range(int(60 / LOOK_EVERY)):
            talk.show(float(random.uniform(0, 1) * (minute + 1)), LOOK_EVERY)
    times = [at for at, _, _ in talk.sent]
    assert len(times) > 20
    for at in times:
        assert MAX_WINDOW_BYTES * sum(at - SPAN < other <= at for other in times) <= MOST_BYTES
    assert all(0 <= slot < MAX_WINDOWS for _, slot, _ in talk.sent)


def test_once_all_slots_are_taken_the_least_useful_gives_way() -> None:
    talk = Talk()
    for slot in range(MAX_WINDOWS):
        talk.choice.sent(slot, corner_coordinates(lips(0.3 + 0.001 * slot)), 1000, talk.now - 100)
    talk.speak([0.3, 1.2], 60)
    assert [opening for _, _, opening in talk.sent] == [1.2]
    assert talk.sent[0][1] in range(MAX_WINDOWS)


def test_after_a_cut_slots_are_free_again_and_bytes_still_count() -> None:
    talk = Talk(size=3500)
    talk.speak([0.0, 0.4, 0.8, 1.2, 1.6, 2.0], 40)
    before = len(talk.sent)
    talk.choice.cut()
    talk.speak([0.0, 0.4, 0.8, 1.2, 1.6, 2.0], 20)
    assert talk.sent[before][1] == 0
    assert sum(talk.size for _ in talk.sent) <= MOST_BYTES
