"""Pictures on a narrow line: paced, paused, and what the line carries found."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media.pacer import Pacer, PacerSettings, PausedPictures


def test_a_line_that_keeps_up_is_not_paced() -> None:
    pacer = Pacer()
    for i in range(100):
        now = 0.04 * i
        pacer.estimate(40_000 + 3000 * i, now)  # an estimate follows what comes, and is small at first
        assert [pacer.wait(1200, now) for _ in range(5)] == [0.0] * 5


def test_pictures_are_spaced_once_the_estimate_falls_below_what_is_sent() -> None:
    pacer = Pacer()
    for i in range(50):
        pacer.estimate(300_000, 0.02 * i)
        assert pacer.wait(600, 0.02 * i) == 0.0
    pacer.estimate(150_000, 1.0)
    waits = [pacer.wait(1200, 1.0) for _ in range(10)]  # a keyframe
    spacing = 8 * 1200 / (1.5 * 150_000)
    assert np.diff(waits[1:]) == pytest.approx([spacing] * 8)
    assert pacer.wait(1200, 30.0) == 0.0, "that was long ago"


SOUND_BITS = 30_000
"""Bits a second of sound beside the pictures, headers included."""


class _Line:
    """A bottleneck with a receiver behind it that estimates as browsers do (draft-ietf-rmcat-gcc-02), in steps of 5 ms.

    Sound goes with the pictures, at `SOUND_BITS`, and is not estimated.
    """

    step, back = 0.005, 0.06  # seconds; until an estimate is known at the other end

    def __init__(self, bits_per_second: float) -> None:
        self.bits_per_second = bits_per_second
        self._waiting: deque[tuple[bool, float]] = deque()  # (whether a picture's, bits)
        self._came: deque[tuple[float, float]] = deque()  # of the last second: (when, bits of pictures)
        self._told = 0.0
        self._reports: deque[tuple[float, int]] = deque()

    @property
    def wait(self) -> float:
        """Seconds."""
        return sum(bits for _, bits in self._waiting) / self.bits_per_second

    def pass_on(self, bits: float, now: float) -> list[int]:
        """What is sent in one step; the estimates that come back in it."""
        before = self.wait
        self._waiting += [(True, bits), (False, SOUND_BITS * self.step)]
        left = self.bits_per_second * self.step
        while self._waiting and left > 0:
            picture, amount = self._waiting.popleft()
            if amount > left:
                self._waiting.appendleft((picture, amount - left))
                amount = left
            left -= amount
            if picture:
                self._came.append((now, amount))
        while self._came and self._came[0][0] < now - 1.0:
            self._came.popleft()
        overused = self.wait > max(before, 0.1)
        if now - self._told > (0.06 if overused else 1.0):
            self._told = now
            rate = sum(amount for _, amount in self._came)
            self._reports.append((now + self.back, round(rate * (0.85 if overused else 1.0))))
        due = []
        while self._reports and self._reports[0][0] <= now:
            due.append(self._reports.popleft()[1])
        return due


@pytest.mark.parametrize(
    ("sent", "carried"),
    [(300, 100), (350, 250), (450, 150), (600, 150), (600, 250), (900, 150), (900, 250), (900, 500)],
)
def test_sound_soon_goes_on_when_a_line_becomes_narrow(sent: int, carried: int) -> None:
    waits, told = _narrowed(Pacer(), 1000 * sent, 1000 * carried)
    assert max(waits[-200:]) < 0.7, "three seconds later; without pauses as long as the line's queue is"
    assert 0.4 <= told / (1000 * carried) <= 1.1


def _narrowed(pacer: Pacer, sent: float, carried: float) -> tuple[list[float], float]:
    """By how much packets wait at each step of four seconds from when the line carries so little, and what it is said
    to carry at the end, bits a second. Pictures take what the pacer says from its first pause on.
    """
    line = _Line(3_000_000)
    waits: list[float] = []
    rate, held = sent, 0.0  # bits a second; bits of pictures that the pacer holds
    for tick in range(1200):
        now = tick * line.step
        if tick == 400:
            line.bits_per_second = carried
        if pacer.pauses(now):
            held, rate = 0.0, float(pacer.carries(now) or 0)
        held += rate * line.step
        leaves = 0.0
        while held >= 9600 and pacer.wait(1200, now) == 0.0:
            held, leaves = held - 9600, leaves + 9600
        for estimate in line.pass_on(leaves, now):
            pacer.estimate(estimate, now)
        waits.append(line.wait)
    return waits[400:], pacer.carries(6.0) or 0


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.integers(0, 5_000_000), st.integers(1, 1500)), max_size=60))
def test_whatever_is_estimated_waits_are_finite_and_pauses_end(steps: list[tuple[float, int, int]]) -> None:
    settings = PacerSettings()
    pacer, now, began = Pacer(settings), 0.0, None
    for elapsed, bits, size in steps:
        now += elapsed
        pacer.estimate(bits, now)
        assert 0.0 <= pacer.wait(size, now) < float("inf")
        carries = pacer.carries(now)
        assert carries is not None
        assert carries >= 0
        began = (now if began is None else began) if pacer.pauses(now) else None
        assert began is None or now - began < settings.longest_pause
    assert not pacer.pauses(now + settings.longest_pause)


class _OnOrOff(Pacer):
    """Pauses until it is told to go on, on a line that carries 80 kbit/s."""

    paused = True

    def pauses(self, now: float) -> bool:
        return self.paused

    def carries(self, now: float) -> int | None:
        return 80_000


def test_after_a_pause_pictures_go_on_with_a_keyframe_at_what_the_line_carries() -> None:
    pacer, told = _OnOrOff(), list[str]()
    pictures = PausedPictures(pacer, lambda: told.append("keyframe"), lambda rate: told.append(str(rate)))
    assert all(pictures.leaves_out(keyframe, 0.04 * i) for i, keyframe in enumerate((False, True, False)))
    assert told == []
    pacer.paused = False
    assert all(pictures.leaves_out(False, 1 + 0.04 * i) for i in range(5))
    assert told == ["80000", "keyframe"], "the rate first, and a keyframe is asked for once"
    assert all(pictures.leaves_out(False, 2 + 0.04 * i) for i in range(5))
    assert told[2:] == ["keyframe"], "it may have been lost"
    assert not pictures.leaves_out(True, 3.0)
    assert not pictures.leaves_out(False, 3.04)
    assert len(told) == 3
