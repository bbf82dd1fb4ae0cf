"""Control messages: golden cases, and anything else is refused with one typed error."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BitstreamError
from server.wire.control import (
    Ping,
    Pong,
    SenderStages,
    SenderState,
    SourceAnnouncement,
    parse_control,
    serialize_ping,
    serialize_pong,
)

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"t": "ping", "n": 1, "ms": 2}, Ping(1, 2.0)),
        ({"t": "pong", "n": 1, "ms": 2.5, "peer_ms": 3.5, "more": [1]}, Pong(1, 2.5, 3.5)),
        ({"t": "source", "index": 255, "sha256": HASH}, SourceAnnouncement(255, HASH)),
        ({"t": "state", "paused": True}, SenderState(True)),
        ({"t": "stages", "extract": 8.5, "unknown": 1.0}, SenderStages({"extract": 8.5})),
        ({"t": "of the future"}, None),
    ],
)
def test_messages(fields: dict[str, Any], message: object) -> None:
    assert parse_control(msgpack.packb(fields)) == message


def test_bytes_of_ping_and_pong() -> None:
    data = serialize_ping(3, 1000.5)
    assert data.hex() == "83a174a470696e67a16e03a26d73cb408f440000000000"
    assert parse_control(serialize_pong(Ping(3, 1000.5), 7.0)) == Pong(3, 1000.5, 7.0)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {"t": 1},
        {"t": "ping"},
        {"t": "ping", "n": -1, "ms": 0},
        {"t": "ping", "n": True, "ms": 0},
        {"t": "ping", "n": 1, "ms": float("inf")},
        {"t": "ping", "n": 1, "ms": "0"},
        {"t": "ping", "n": 1, "ms": True},
        {"t": "pong", "n": 1, "ms": 1, "peer_ms": -5},
        {"t": "source", "index": 256, "sha256": HASH},
        {"t": "source", "index": 0, "sha256": HASH.upper()},
        {"t": "source", "index": 0, "sha256": b"ab" * 32},
        {"t": "state", "paused": 1},
        {"t": "stages", "extract": None},
    ],
)
def test_wrong_fields(fields: Any) -> None:
    with pytest.raises(BitstreamError):
        parse_control(msgpack.packb(fields))


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=50)))
def test_random_input_is_refused_or_valid(data: Any) -> None:
    with contextlib.suppress(BitstreamError):
        parse_control(data)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 60), st.integers(0, 255))
def test_mutated_messages_are_refused_or_valid(place: int, value: int) -> None:
    data = bytearray(msgpack.packb({"t": "pong", "n": 1, "ms": 2.5, "peer_ms": 3.5}))
    data[place % len(data)] = value
    with contextlib.suppress(BitstreamError):
        parse_control(bytes(data))


def test_long_messages_are_not_even_looked_at() -> None:
    with pytest.raises(BitstreamError, match="4096"):
        parse_control(b"\x00" * 5000)
