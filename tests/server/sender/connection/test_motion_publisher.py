"""Motion onto a data channel that fills up, closes and answers; a fake channel, a fake clock."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.packet import Acknowledgement
from model.codec.rate import HEADER_BYTES, Rate
from model.codec.statistics import MotionStatistics
from server.sender.connection.motion_publisher import MotionPublisher
from server.sender.connection.rate_control import RateControl
from server.sender.media.samples import MotionSample
from server.wire.voice_trailer import MAX_TRAILER


class FakeChannel:
    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[bytes] = []
        self.stuck = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.stuck:
            self.bufferedAmount += len(data)


class FakeEncoder:
    """Bundles `bundle` frames into a message that lists their first scalar."""

    def __init__(self, bundle: int = 1) -> None:
        self.rate = Rate(frames_per_message=bundle)
        self.loss = 0.0
        self.frames: list[tuple[float, int, int]] = []
        self.acknowledged: list[bytes] = []
        self._open: list[int] = []

    def encode(self, vector: NDArray[np.float32], capture_ms: int, source: int) -> bytes | None:
        self.frames.append((float(vector[0]), capture_ms, source))
        self._open.append(int(vector[0]))
        return self.flush() if len(self._open) >= self.rate.frames_per_message else None

    def flush(self) -> bytes | None:
        message, self._open = bytes(self._open), []
        return message or None

    def on_acknowledgement(self, message: bytes) -> None:
        Acknowledgement.parse(message)
        self.acknowledged.append(message)


def publisher_of(encoder: FakeEncoder, channel: FakeChannel) -> MotionPublisher:
    return MotionPublisher(encoder, channel, RateControl(encoder.rate))


def sample(number: int, captured: float = 0.0) -> MotionSample:
    return MotionSample(np.full(13, number, np.float32), captured)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


def test_an_idle_channel_gets_every_frame(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(), channel)
    for i in range(5):
        publisher.publish(sample(i), 0.04 * i)
    assert channel.sent == [bytes([i]) for i in range(5)]
    assert (publisher.frames, publisher.dropped) == (5, 0)


def test_the_newest_frame_replaces_what_waits(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher = publisher_of(encoder, channel)
    channel.stuck = True
    for i in range(5):
        publisher.publish(sample(i), 0.04 * i)
    assert channel.sent == [b"\x00"]
    channel.bufferedAmount = 0
    publisher.drained(0.2)
    assert channel.sent == [b"\x00", b"\x04"]
    assert publisher.dropped == 3
    assert [frame[0] for frame in encoder.frames] == [0.0, 4.0], "a dropped frame never enters the prediction"


def test_a_frame_that_waits_gives_way_when_the_channel_drains_unnoticed(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(), channel)
    channel.bufferedAmount = 10
    publisher.publish(sample(1), 0.0)
    channel.bufferedAmount = 0
    publisher.publish(sample(2), 0.04)
    publisher.drained(0.041)
    assert channel.sent == [b"\x02"]
    assert publisher.dropped == 1


def test_a_closed_channel_drops(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(), channel)
    channel.readyState = "closed"
    publisher.publish(sample(1), 0.0)
    publisher.pause(0.0)
    assert (channel.sent, publisher.dropped, publisher.frames) == ([], 1, 0)


def test_a_pause_sends_what_is_bundled(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(bundle=3), channel)
    publisher.publish(sample(1), 0.0)
    publisher.publish(sample(2), 0.04)
    assert channel.sent == []
    publisher.pause(0.08)
    publisher.pause(0.081)
    assert channel.sent == [b"\x01\x02"]


def test_acknowledgements_reach_the_encoder_and_nothing_else_does(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher = publisher_of(encoder, channel)
    acknowledgement = Acknowledgement(1, 2, 3).serialize()
    publisher.receive(acknowledgement, 0.0)
    publisher.receive(b"?", 0.0)
    publisher.receive("text", 0.0)
    assert encoder.acknowledged == [acknowledgement]
    assert publisher.malformed == 2


def test_an_acknowledgement_tells_the_round_trip_of_the_message_that_it_answers(channel: FakeChannel) -> None:
    statistics = MotionStatistics.default(4)
    control = RateControl(Rate())
    publisher = MotionPublisher(MotionEncoder(statistics, Rate(), epoch=7), channel, control)
    for i in range(3):
        publisher.publish(MotionSample(np.zeros(statistics.size, np.float32), 0.04 * i), 0.04 * i)
    publisher.receive(Acknowledgement(7, 1, 1).serialize(), 0.14)
    assert control.round_trip == pytest.approx(0.1)
    publisher.receive(Acknowledgement(7, 1, 1).serialize(), 0.16)
    assert control.round_trip == pytest.approx(0.1), "a second answer to it says nothing"


def test_capture_times_wrap_at_32_bits(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher_of(encoder, channel).publish(sample(1, (2.0**32 + 7.9) / 1000), 0.0)
    assert encoder.frames[0][1] == 7


def test_wire_rate_counts_the_headers(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(), channel)
    for i in range(100):
        publisher.publish(sample(i), 0.04 * i)
    now = 99 * 0.04
    assert publisher.pace.rate(now) == pytest.approx(25.0)
    assert 8 * publisher.payload.rate(now) / 1000 == pytest.approx(25 * 8 / 1000)
    assert 8 * publisher.wire.rate(now) / 1000 == pytest.approx(25 * (1 + HEADER_BYTES) * 8 / 1000)


# Behind the voice


def riding(encoder: FakeEncoder, channel: FakeChannel) -> MotionPublisher:
    publisher = publisher_of(encoder, channel)
    publisher.trailers = True
    publisher.take_trailer(0.0)
    return publisher


def test_frames_travel_behind_the_voice_and_wait_60_ms_at_most(channel: FakeChannel) -> None:
    publisher = riding(FakeEncoder(), channel)
    carried: list[bytes] = []
    waits: list[float] = []
    waiting: list[float] = []
    for ms in range(1, 3001):
        if ms % 40 == 1:
            publisher.publish(sample(ms // 40), ms / 1000)
            waiting.append(ms / 1000)
        if ms % 60 == 0:
            carried.append(publisher.take_trailer(ms / 1000))
            waits += [ms / 1000 - since for since in waiting]
            waiting = []
    assert channel.sent == []
    assert b"".join(carried) == bytes(range(75))
    assert {len(message) for message in carried} == {1, 2}, "one or two frames a packet at 25 a second"
    assert max(waits) <= 0.06
    assert sum(waits) / len(waits) == pytest.approx(0.03, abs=0.01)
    assert publisher.wire.rate(3.0) == publisher.payload.rate(3.0), "the headers are the voice's"


def test_without_the_extension_or_a_voice_the_data_channel_carries_all(channel: FakeChannel) -> None:
    publisher = publisher_of(FakeEncoder(), channel)
    publisher.take_trailer(0.0)
    publisher.publish(sample(1), 0.01)
    assert channel.sent == [b"\x01"], "the receiver did not answer the extension"
    publisher = publisher_of(FakeEncoder(), channel)
    publisher.trailers = True
    publisher.publish(sample(2), 0.01)
    assert channel.sent == [b"\x01", b"\x02"], "muted from the beginning"


def test_a_voice_that_stalls_is_not_waited_for(channel: FakeChannel) -> None:
    publisher = riding(FakeEncoder(), channel)
    for i in range(5):
        publisher.publish(sample(i), 0.01 + 0.04 * i)
    assert channel.sent == [b"\x00\x01\x02", b"\x03", b"\x04"]
    assert publisher.take_trailer(0.2) == b""
    publisher.publish(sample(5), 0.21)
    assert publisher.take_trailer(0.26) == b"\x05", "and once it is back it carries again"


def test_a_long_message_takes_the_data_channel(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher = riding(encoder, channel)
    publisher.publish(sample(1), 0.01)
    encoder.flush = lambda: bytes(MAX_TRAILER + 1)  # type: ignore[method-assign]
    assert publisher.take_trailer(0.06) == b""
    assert channel.sent == [bytes(MAX_TRAILER + 1)]


def test_silence_is_sent_for_two_frames_or_one_that_has_waited(channel: FakeChannel) -> None:
    publisher = riding(FakeEncoder(), channel)
    assert not publisher.wants_packet(0.01)
    publisher.publish(sample(1), 0.02)
    assert not publisher.wants_packet(0.03)
    assert not publisher.wants_packet(0.058), "the next frame is nearly there"
    assert publisher.wants_packet(0.08), "nothing more has come"
    publisher.publish(sample(2), 0.06)
    assert publisher.wants_packet(0.061)
    assert publisher.take_trailer(0.061) == b"\x01\x02"
    publisher.carried_alone(65, 0.061)


def test_frames_are_repeated_on_a_line_that_loses_alone(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    control = RateControl(encoder.rate)
    publisher = MotionPublisher(encoder, channel, control)
    publisher.trailers = True
    publisher.take_trailer(0.0)
    publisher.publish(sample(1), 0.01)
    assert encoder.rate.repeat == 0
    control.lost(0.1)
    publisher.publish(sample(2), 0.05)
    assert encoder.rate.repeat > 0


def test_a_small_budget_bundles_on_the_data_channel(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    encoder.rate = Rate(kbps=25.0)
    publisher = publisher_of(encoder, channel)
    for i in range(4):
        publisher.publish(sample(i), 0.04 * i)
    assert channel.sent == [b"\x00\x01", b"\x02\x03"]
