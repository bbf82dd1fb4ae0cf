"""Motion onto a data channel that fills up, closes and answers; a fake channel, a fake clock."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.codec.rate import HEADER_BYTES, Rate
from model.errors import BitstreamError
from server.sender.connection.motion_publisher import MotionPublisher
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
        if message[:1] != b"A":
            raise BitstreamError("not an acknowledgement")
        self.acknowledged.append(message)


def sample(number: int, captured: float = 0.0) -> MotionSample:
    return MotionSample(np.full(13, number, np.float32), captured)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


def test_an_idle_channel_gets_every_frame(channel: FakeChannel) -> None:
    publisher = MotionPublisher(FakeEncoder(), channel)
    for i in range(5):
        publisher.publish(sample(i), 0.04 * i)
    assert channel.sent == [bytes([i]) for i in range(5)]
    assert (publisher.frames, publisher.dropped) == (5, 0)


def test_the_newest_frame_replaces_what_waits(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher = MotionPublisher(encoder, channel)
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
    publisher = MotionPublisher(FakeEncoder(), channel)
    channel.bufferedAmount = 10
    publisher.publish(sample(1), 0.0)
    channel.bufferedAmount = 0
    publisher.publish(sample(2), 0.04)
    publisher.drained(0.041)
    assert channel.sent == [b"\x02"]
    assert publisher.dropped == 1


def test_a_closed_channel_drops(channel: FakeChannel) -> None:
    publisher = MotionPublisher(FakeEncoder(), channel)
    channel.readyState = "closed"
    publisher.publish(sample(1), 0.0)
    publisher.pause(0.0)
    assert (channel.sent, publisher.dropped, publisher.frames) == ([], 1, 0)


def test_a_pause_sends_what_is_bundled(channel: FakeChannel) -> None:
    publisher = MotionPublisher(FakeEncoder(bundle=3), channel)
    publisher.publish(sample(1), 0.0)
    publisher.publish(sample(2), 0.04)
    assert channel.sent == []
    publisher.pause(0.08)
    publisher.pause(0.081)
    assert channel.sent == [b"\x01\x02"]


def test_acknowledgements_reach_the_encoder_and_nothing_else_does(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    publisher = MotionPublisher(encoder, channel)
    publisher.receive(b"A1")
    publisher.receive(b"?")
    publisher.receive("text")
    assert encoder.acknowledged == [b"A1"]
    assert publisher.malformed == 2


def test_capture_times_wrap_at_32_bits(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    MotionPublisher(encoder, channel).publish(sample(1, (2.0**32 + 7.9) / 1000), 0.0)
    assert encoder.frames[0][1] == 7


def test_wire_rate_counts_the_headers(channel: FakeChannel) -> None:
    publisher = MotionPublisher(FakeEncoder(), channel)
    for i in range(100):
        publisher.publish(sample(i), 0.04 * i)
    now = 99 * 0.04
    assert publisher.pace.rate(now) == pytest.approx(25.0)
    assert 8 * publisher.payload.rate(now) / 1000 == pytest.approx(25 * 8 / 1000)
    assert 8 * publisher.wire.rate(now) / 1000 == pytest.approx(25 * (1 + HEADER_BYTES) * 8 / 1000)


# Behind the voice


def riding(encoder: FakeEncoder, channel: FakeChannel) -> MotionPublisher:
    publisher = MotionPublisher(encoder, channel)
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
    publisher = MotionPublisher(FakeEncoder(), channel)
    publisher.take_trailer(0.0)
    publisher.publish(sample(1), 0.01)
    assert channel.sent == [b"\x01"], "the receiver did not answer the extension"
    publisher = MotionPublisher(FakeEncoder(), channel)
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
    encoder.rate = Rate(repeat=1)
    publisher = riding(encoder, channel)
    publisher.publish(sample(1), 0.01)
    assert encoder.rate.repeat == 0
    encoder.loss = 0.1
    publisher.publish(sample(2), 0.05)
    assert encoder.rate.repeat == 1


def test_a_small_budget_bundles_on_the_data_channel(channel: FakeChannel) -> None:
    encoder = FakeEncoder()
    encoder.rate = Rate(kbps=25.0)
    publisher = MotionPublisher(encoder, channel)
    for i in range(4):
        publisher.publish(sample(i), 0.04 * i)
    assert channel.sent == [b"\x00\x01", b"\x02\x03"]
