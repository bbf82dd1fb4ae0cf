"""Messages of the motion channel: golden bytes, strict parsing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.codec.entropy import RangeEncoder
from model.codec.packet import (
    MAX_MESSAGE_BYTES,
    MOTION_HEADER_BYTES,
    SHORT_HEADER_BYTES,
    Acknowledgement,
    MotionMessage,
    RefreshRequest,
    parse_message,
    sequence_distance,
)
from model.errors import BitstreamError

GOLDEN = MotionMessage(
    epoch=0xABCD, sequence=0x0102, reference=7, frames=3, source=2, step_index=-4, capture_ms=0xDEADBEEF
)
GOLDEN_BYTES = bytes.fromhex("41 abcd 0102 deadbeef dae3e9")
SHORT = MotionMessage(
    epoch=0xCD, sequence=0x0102, reference=7, frames=1, source=None, step_index=None, capture_ms=None, elapsed_ms=280
)
SHORT_BYTES = bytes.fromhex("44 cd 0102 71db")


def write(message: MotionMessage) -> bytes:
    """The bytes of a message without frames: what its header takes."""
    return message.write(lambda coder: None)


def test_motion_message_bytes() -> None:
    assert write(GOLDEN) == GOLDEN_BYTES
    assert parse_message(GOLDEN_BYTES) == GOLDEN
    assert write(SHORT) == SHORT_BYTES
    assert parse_message(SHORT_BYTES) == SHORT


def test_headers_take_what_they_are_said_to_take() -> None:
    assert len(GOLDEN_BYTES) <= MOTION_HEADER_BYTES
    for reference in range(1, 11):
        for interval in (33, 40):
            message = replace(SHORT, reference=reference, elapsed_ms=reference * interval)
            assert len(write(message)) <= SHORT_HEADER_BYTES


def test_acknowledgement_bytes() -> None:
    message = Acknowledgement(epoch=0xABCD, sequence=0x0102, received=0x80000001)
    assert message.serialize() == bytes.fromhex("42 abcd 0102 80000001")
    assert parse_message(message.serialize()) == message


def test_refresh_request_bytes() -> None:
    message = RefreshRequest(epoch=0xCD, sequence=0x0102)
    assert message.serialize() == bytes.fromhex("43 cd 0102")
    assert parse_message(message.serialize()) == message


@given(
    st.one_of(
        st.builds(
            MotionMessage,
            epoch=st.integers(0, 0xFFFF),
            sequence=st.integers(0, 0xFFFF),
            reference=st.integers(0, 255),
            frames=st.integers(1, 32),
            source=st.integers(0, 255),
            step_index=st.integers(-24, 24),
            capture_ms=st.integers(0, 0xFFFFFFFF),
        ),
        st.builds(
            MotionMessage,
            epoch=st.integers(0, 0xFF),
            sequence=st.integers(0, 0xFFFF),
            reference=st.integers(1, 255),
            frames=st.integers(1, 32),
            source=st.none() | st.integers(0, 255),
            step_index=st.none() | st.integers(-24, 24),
            capture_ms=st.none(),
            elapsed_ms=st.integers(0, 0xFFFF),
        ),
    ),
    st.lists(st.integers(0, 0xFFFF), max_size=100),
)
def test_round_trip(message: MotionMessage, numbers: list[int]) -> None:
    def write_numbers(coder: RangeEncoder) -> None:
        for number in numbers:
            coder.encode_bits(number, 16)

    read, coder = MotionMessage.open(message.write(write_numbers))
    assert read == message
    assert [coder.decode_bits(16) for _ in numbers] == numbers
    coder.finish()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x41",
        b"\x44",
        GOLDEN_BYTES[:8],
        SHORT_BYTES[:3],
        b"\x31" + GOLDEN_BYTES[1:],
        b"\x4f" + GOLDEN_BYTES[1:],
        write(replace(GOLDEN, step_index=25)),
        write(replace(GOLDEN, step_index=39)),
        write(replace(SHORT, step_index=25)),
        write(replace(SHORT, reference=0)),
        write(replace(SHORT, reference=256)),
        write(replace(SHORT, elapsed_ms=-1)),
        write(replace(SHORT, elapsed_ms=0x10000)),
        GOLDEN_BYTES + bytes(MAX_MESSAGE_BYTES),
        SHORT_BYTES + bytes(MAX_MESSAGE_BYTES),
        bytes.fromhex("42 abcd 0102 800000"),
        bytes.fromhex("42 abcd 0102 80000001 00"),
        bytes.fromhex("43 cd 01"),
        bytes.fromhex("43 abcd 0102"),
    ],
)
def test_broken_messages_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        parse_message(data)


def test_sequence_distance_wraps() -> None:
    assert sequence_distance(5, 3) == 2
    assert sequence_distance(3, 5) == -2
    assert sequence_distance(1, 0xFFFF) == 2
    assert sequence_distance(0xFFFF, 1) == -2
