"""The controller against a line that is a queue with a rate; time is told."""

from __future__ import annotations

import heapq
from dataclasses import replace

import pytest

from model.codec.rate import HEADER_BYTES, Rate
from server.sender.connection.rate_control import OTHER_KBPS, PACKET_HEADER_BYTES, RateControl

STEP = 0.02
ASKED = replace(Rate.for_kbps(25.0), step_index=-5)


class Line:
    """What the controller orders goes into a bottleneck; each packet with motion is answered after its way."""

    def __init__(self, kbps: float, voice: bool = True) -> None:
        self.kbps = kbps
        self.control = RateControl(ASKED)
        self.now = 0.0
        self.waits: list[tuple[float, float]] = []
        self._voice = voice
        self._free = 0.0
        self._due = 0.0
        self._answered = 0.0
        self._answers: list[tuple[float, float]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            while self._answers and self._answers[0][0] <= self.now:
                came, left = heapq.heappop(self._answers)
                self.control.measured(came - left, came)
            if self.now >= self._due:
                self._send()
            self.now += STEP

    def _send(self) -> None:
        if self._voice:
            voice, motion = self.control.decision.voice, self.control.decision.riding
            interval = voice.pieces * 0.02
            frames = min(motion.frames_per_second or 25.0, 25.0) * 2 ** (-motion.step_index / 6)
            size = round(125 * voice.kbps * interval + PACKET_HEADER_BYTES + 10 + 20 * frames * interval)
            every = 0.17
        else:
            channel = self.control.decision.channel
            interval = channel.frames_per_message / (channel.frames_per_second or 25.0)
            size, every = HEADER_BYTES + 13 + 10 * channel.frames_per_message, 0.5
        self._due = self.now + interval
        self.control.sent(size, self.now)
        wait = max(self._free - self.now, 0.0)
        self._free = self.now + wait + 8e-3 * (size + 125 * OTHER_KBPS * interval) / self.kbps
        self.waits.append((self.now, wait))
        if self._free >= self._answered + every:
            self._answered = self._free
            heapq.heappush(self._answers, (self._free + 0.06, self.now))

    def longest(self, since: float) -> float:
        return max(wait for when, wait in self.waits if when >= since)


@pytest.mark.parametrize("kbps", [64.0, 32.0, 20.0])
def test_behind_a_bottleneck_nothing_waits_for_long_after_three_seconds(kbps: float) -> None:
    line = Line(1000.0)
    line.run(3.0)
    line.kbps = kbps
    line.run(10.0)
    assert line.longest(since=6.0) < 0.2
    line.run(30.0)
    assert line.longest(since=6.0) < 0.26, "also where it tries how much more the line carries"


def test_without_a_voice_the_data_channel_keeps_within_a_bottleneck() -> None:
    line = Line(1000.0, voice=False)
    line.run(3.0)
    line.kbps = 12.0
    line.run(30.0)
    assert line.longest(since=8.0) < 0.4
    assert line.control.decision.channel.kbps is not None
    assert line.control.decision.channel.kbps < 25.0


def test_a_good_line_gets_what_was_asked_for() -> None:
    line = Line(500.0)
    line.run(20.0)
    decision = line.control.decision
    assert (decision.voice.kbps, decision.voice.pieces, decision.voice.loss_percent) == (14.0, 3, 0)
    assert (decision.riding.step_index, decision.riding.repeat) == (ASKED.step_index, 0)
    assert not line.control.congested


def test_once_the_bottleneck_is_gone_everything_comes_back() -> None:
    line = Line(20.0)
    line.run(10.0)
    assert line.control.decision.voice.kbps < 14.0
    line.kbps = 500.0
    line.run(30.0)
    assert (line.control.decision.voice.kbps, line.control.decision.voice.pieces) == (14.0, 3)
    assert line.longest(since=11.0) < 0.2, "no storm"


def test_the_voice_goes_last() -> None:
    control = RateControl(ASKED)
    kbps, coarser = [], []
    for budget in (64.0, 27.0, 26.0, 25.5, 22.0, 18.0, 12.0):
        control.budget = budget
        control.lost(0.0)
        kbps.append(control.decision.voice.kbps)
        coarser.append(control.decision.riding.step_index - ASKED.step_index)
    assert kbps == sorted(kbps, reverse=True)
    assert coarser[kbps.index(next(k for k in kbps if k < 14.0))] == 8, "motion is coarse before the voice is touched"
    assert control.decision.voice.pieces == 6, "packets become longer at last"


def test_loss_brings_fec_shorter_packets_and_repeats_and_they_go_again() -> None:
    control = RateControl(ASKED)
    orders = []
    for share in (0.0, 0.05, 0.3, *40 * (0.0,)):
        for _ in range(3):
            control.lost(share)
        orders.append((control.decision.voice.loss_percent > 0, control.decision.voice.pieces))
    assert orders[:3] == [(False, 3), (True, 3), (True, 2)]
    assert orders[-1] == (False, 3)
    assert control.decision.riding.repeat == 0


def test_a_narrow_line_that_loses_has_no_bits_for_redundancy() -> None:
    control = RateControl(ASKED)
    control.budget = 20.0
    for _ in range(5):
        control.lost(0.2)
    assert control.decision.voice.loss_percent == 0


def test_jitter_is_no_queue() -> None:
    control = RateControl(ASKED)
    for i in range(400):
        now = 0.06 * i
        control.sent(200, now)
        control.measured(0.06 + 0.02 * ((7 * i) % 5), now)
    assert control.decision.voice.kbps == 14.0


def test_a_source_image_takes_its_share_of_a_narrow_line() -> None:
    line = Line(1000.0)
    line.run(2.0)
    before = line.control.decision.source_kbps
    line.kbps = 20.0
    line.run(10.0)
    assert line.control.decision.source_kbps < min(before, 8.0)
