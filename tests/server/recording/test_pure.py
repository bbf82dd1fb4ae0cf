"""What needs neither files nor a loop: the clock of a stream, and which messages a file can hold."""

from __future__ import annotations

import pytest

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.opus_packet import packet_samples
from model.codec.packet import MotionMessage
from model.codec.statistics import MotionStatistics
from model.errors import BitstreamError
from server.media.stream_clock import LONGEST_STEP, WINDOW, StreamClock
from server.recording.motion_file import Decodable
from tests.model.codec.test_statistics import walk

STATISTICS = MotionStatistics.default(2)


def test_the_streams_own_clock_counts_and_not_when_packets_come() -> None:
    clock = StreamClock(48_000)
    jitter = [0.0, 0.03, 0.002, 0.05, 0.01, 0.0]
    found = [clock.at(2**32 - 4800 + 2880 * n & 0xFFFFFFFF, 1.0 + 0.06 * n + late) for n, late in enumerate(jitter)]
    assert found == [48_000 + 2880 * n for n in range(6)]


def test_a_clock_that_drifts_is_followed() -> None:
    clock = StreamClock(1000)
    worst = 0.0
    for n in range(3600):
        came = n * 1.0005  # the stream's clock is slow by half a thousandth
        worst = max(worst, abs(clock.at(n * 1000, came) / 1000 - came))
    assert worst < 0.06


def test_the_fastest_packet_places_a_stream_that_began_late() -> None:
    clock = StreamClock(1000)
    clock.at(0, 0.5)  # half a second too late
    times = [clock.at(100 * n, 0.1 * n) / 1000 for n in range(1, int(WINDOW * 10) + 20)]
    assert times[0] == pytest.approx(0.6)
    assert times[-1] == pytest.approx(0.1 * (WINDOW * 10 + 19), abs=0.02)


def test_another_stream_begins_where_it_comes() -> None:
    clock = StreamClock(48_000)
    clock.at(1000, 1.0)
    assert clock.at(3_000_000_000, 1.0 + LONGEST_STEP) == round((1.0 + LONGEST_STEP) * 48_000)


def encoded(count: int, epoch: int = 7) -> list[bytes]:
    """Messages of one frame, each acknowledged before the next."""
    encoder, decoder = MotionEncoder(STATISTICS, epoch=epoch), MotionDecoder(STATISTICS)
    messages = []
    for number, vector in enumerate(walk(count, 2)):
        message = encoder.encode(vector, 40 * number) or encoder.flush()
        assert message is not None
        messages.append(message)
        decoder.decode(message)
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")
    return messages


def test_a_file_that_begins_in_the_middle_waits_for_an_intra_frame() -> None:
    messages = [MotionMessage.parse(data) for data in encoded(20)]
    assert messages[0].reference == 0
    assert all(message.reference for message in messages[1:])
    assert not any(Decodable().take(message) for message in messages[1:])
    whole = Decodable()
    assert all(whole.take(message) for message in messages)


def test_what_refers_to_a_lost_frame_is_left_out_and_the_rest_can_be_decoded() -> None:
    data = encoded(30) + encoded(10, epoch=8)
    kept, taken = Decodable(), MotionDecoder(STATISTICS)
    decoded = 0
    for number, message in enumerate(data):
        if number in (3, 4) or not kept.take(MotionMessage.parse(message)):
            continue
        found = len(taken.decode(message))
        assert found
        decoded += found
    assert 10 <= decoded < 40


def test_the_request_for_an_intra_frame_brings_one() -> None:
    encoder, decoder = MotionEncoder(STATISTICS, epoch=7), MotionDecoder(STATISTICS)
    assert decoder.intra_request() is None
    references = []
    for number, vector in enumerate(walk(12, 2)):
        message = encoder.encode(vector, 40 * number) or encoder.flush()
        assert message is not None
        references.append(MotionMessage.parse(message).reference)
        decoder.decode(message)
        encoder.on_acknowledgement((decoder.intra_request() if number == 5 else decoder.acknowledgement()) or b"")
    assert [number for number, reference in enumerate(references) if not reference] == [0, 6]


@pytest.mark.parametrize(
    ("packet", "samples"),
    [(b"\x48", 960), (b"\x08", 960), (b"\x58\x01", 2880), (b"\xfc", 960), (b"\x4b\x83", 2880), (b"\x49a", 1920)],
)
def test_how_long_a_packet_lasts(packet: bytes, samples: int) -> None:
    assert packet_samples(packet) == samples


@pytest.mark.parametrize("packet", [b"", b"\x4b", b"\x4b\x00", b"\x5b\x3f"])
def test_packets_that_cannot_be(packet: bytes) -> None:
    with pytest.raises(BitstreamError):
        packet_samples(packet)
