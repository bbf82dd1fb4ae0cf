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
    MAX_BUFFERED,
    ControlMessage,
    NeedSource,
    Ping,
    Pong,
    ReceiverStatistics,
    SenderStages,
    SenderState,
    SourceAnnouncement,
    parse_control,
    send_control,
    serialize_control,
)
from tests.server.fakes import FakeChannel

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"t": "ping", "n": 1, "ms": 2}, Ping(1, 2.0)),
        ({"t": "pong", "n": 1, "ms": 2.5, "peer_ms": 3.5, "more": [1]}, Pong(1, 2.5, 3.5)),
        ({"t": "source", "index": 255, "sha256": HASH}, SourceAnnouncement(255, HASH)),
        ({"t": "state", "paused": True}, SenderState(True)),
        ({"t": "stages", "extract": 8.5, "unknown": 1.0}, SenderStages({"extract": 8.5})),
        ({"t": "need_source", "sha256": HASH}, NeedSource(HASH)),
        (
            {"t": "statistics", "fps": 25, "state": "live", "loss_percent": 0.5, "viewers": 2, "more": None},
            ReceiverStatistics(25.0, "live", 0.5, 2),
        ),
        ({"t": "of the future"}, None),
    ],
)
def test_messages(fields: dict[str, Any], message: object) -> None:
    assert parse_control(msgpack.packb(fields)) == message


GOLDEN: list[tuple[ControlMessage, str]] = [
    (Ping(3, 1000.5), "83a174a470696e67a16e03a26d73cb408f440000000000"),
    (Pong(3, 1000.5, 7.0), "84a174a4706f6e67a16e03a26d73cb408f440000000000a7706565725f6d73cb401c000000000000"),
    (SourceAnnouncement(1, HASH), "83a174a6736f75726365a5696e64657801a6736861323536d940" + HASH.encode().hex()),
    (SenderState(True), "82a174a57374617465a6706175736564c3"),
    (
        SenderStages({"capture": 5.0, "extract": 10.5, "encode": 0.25, "audio": 26.5}),
        "85a174a6737461676573a763617074757265cb4014000000000000a765787472616374cb4025000000000000a6656e636f64"
        "65cb3fd0000000000000a5617564696fcb403a800000000000",
    ),
    (NeedSource(HASH), "82a174ab6e6565645f736f75726365a6736861323536d940" + HASH.encode().hex()),
    (
        ReceiverStatistics(25.0, "live", 0.5, 2),
        "85a174aa73746174697374696373a3667073cb4039000000000000a57374617465a46c697665ac6c6f73735f70657263656e"
        "74cb3fe0000000000000a77669657765727302",
    ),
]
"""One of each message; a second implementation must write the same bytes."""


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden_bytes(message: ControlMessage, golden: str) -> None:
    assert serialize_control(message).hex() == golden
    assert parse_control(bytes.fromhex(golden)) == message


def test_nothing_is_sent_on_a_channel_that_is_closed_or_stuck() -> None:
    channel = FakeChannel()
    send_control(None, SenderState(True))
    send_control(channel, SenderState(True))
    channel.bufferedAmount = MAX_BUFFERED
    send_control(channel, SenderState(True))
    channel.bufferedAmount, channel.readyState = 0, "closing"
    send_control(channel, SenderState(True))
    assert channel.sent == [serialize_control(SenderState(True))]


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
        {"t": "need_source", "sha256": HASH[:-1]},
        {"t": "statistics", "fps": 25.0, "state": "live", "loss_percent": 0.5},
        {"t": "statistics", "fps": float("nan"), "state": "live", "loss_percent": 0.5, "viewers": 2},
        {"t": "statistics", "fps": 25.0, "state": 1, "loss_percent": 0.5, "viewers": 2},
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
