"""Messages of the motion channel: golden bytes, strict parsing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.codec.packet import (
    MAX_MESSAGE_BYTES,
    Acknowledgement,
    MotionMessage,
    RefreshRequest,
    parse_message,
    sequence_distance,
)
from model.errors import BitstreamError

GOLDEN = MotionMessage(
    source=2,
    epoch=0xABCD,
    sequence=0x0102,
    reference=7,
    step_index=-4,
    frames=3,
    capture_ms=0xDEADBEEF,
    payload=b"\x11\x22",
)
GOLDEN_BYTES = bytes.fromhex("31 02 abcd 0102 07 fc 03 deadbeef 1122")


def test_motion_message_bytes() -> None:
    assert GOLDEN.serialize() == GOLDEN_BYTES
    assert parse_message(GOLDEN_BYTES) == GOLDEN


def test_acknowledgement_bytes() -> None:
    message = Acknowledgement(epoch=0xABCD, sequence=0x0102, received=0x80000001)
    assert message.serialize() == bytes.fromhex("32 abcd 0102 80000001")
    assert parse_message(message.serialize()) == message


def test_refresh_request_bytes() -> None:
    message = RefreshRequest(epoch=0xABCD, sequence=0x0102)
    assert message.serialize() == bytes.fromhex("33 abcd 0102")
    assert parse_message(message.serialize()) == message


@given(
    st.builds(
        MotionMessage,
        source=st.integers(0, 255),
        epoch=st.integers(0, 0xFFFF),
        sequence=st.integers(0, 0xFFFF),
        reference=st.integers(0, 255),
        step_index=st.integers(-24, 24),
        frames=st.integers(1, 32),
        capture_ms=st.integers(0, 0xFFFFFFFF),
        payload=st.binary(max_size=1000),
    )
)
def test_round_trip(message: MotionMessage) -> None:
    assert MotionMessage.parse(message.serialize()) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x31",
        GOLDEN_BYTES[:12],
        b"\x11" + GOLDEN_BYTES[1:],
        b"\x2f" + GOLDEN_BYTES[1:],
        GOLDEN_BYTES[:7] + b"\x19" + GOLDEN_BYTES[8:],
        GOLDEN_BYTES[:7] + b"\xe7" + GOLDEN_BYTES[8:],
        GOLDEN_BYTES[:8] + b"\x00" + GOLDEN_BYTES[9:],
        GOLDEN_BYTES[:8] + b"\x31" + GOLDEN_BYTES[9:],
        GOLDEN_BYTES + bytes(MAX_MESSAGE_BYTES),
        bytes.fromhex("32 abcd 0102 800000"),
        bytes.fromhex("32 abcd 0102 80000001 00"),
        bytes.fromhex("33 abcd 01"),
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
