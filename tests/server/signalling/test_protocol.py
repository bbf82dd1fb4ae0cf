"""WebSocket messages: good ones parse, all others are refused with a typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ForbiddenError, ProtocolError, TooLargeError
from server.signalling import protocol

BOUND = 65_536


def parse(message: Any) -> protocol.ClientMessage:
    return protocol.parse_message(json.dumps(message), BOUND)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "join", "id": 1, "room": "lobby", "name": " Ada "},
        {"type": "join", "id": 1, "room": "a.b-c_d", "name": "Ada", "client": "daemon", "resume": "x"},
        {"type": "publish", "id": 2, "sdp": "v=0"},
        {"type": "publish", "id": 2, "sdp": "v=0", "weights": "0123456789abcdef" * 4},
        {"type": "subscribe", "id": 3, "participant": "p", "sdp": "v=0", "codec": "H264"},
        {"type": "unsubscribe", "id": 4, "subscription": "s"},
        {"type": "view", "id": 5, "subscription": "s", "yaw": 45, "pitch": -30.0},
        {"type": "view", "id": 5, "subscription": "s", "reset": True},
        {"type": "state", "id": 6, "muted": True},
        {"type": "statistics", "id": 7},
        {"type": "frames", "id": 7},
        {"type": "report", "id": 8, "subscription": "s", "fps": 25.0, "freezes": 0},
        {"type": "leave", "id": 9},
        {"type": "ping", "id": 10, "t": 12.5, "a field of tomorrow": 1},
    ],
)
def test_good_messages(message: dict[str, Any]) -> None:
    assert parse(message).type == message["type"]


@pytest.mark.parametrize(
    "message",
    [
        None,
        1,
        [],
        "join",
        {},
        {"type": "no such type", "id": 1},
        {"type": ["join"], "id": 1},
        {"type": "ping", "t": 1},
        {"type": "ping", "id": "1", "t": 1},
        {"type": "ping", "id": -1, "t": 1},
        {"type": "ping", "id": 2**60, "t": 1},
        {"type": "ping", "id": 1, "t": float("nan")},
        {"type": "join", "id": 1, "room": "no spaces", "name": "Ada"},
        {"type": "join", "id": 1, "room": "x" * 65, "name": "Ada"},
        {"type": "join", "id": 1, "room": "../etc", "name": "Ada"},
        {"type": "join", "id": 1, "room": "r", "name": "   "},
        {"type": "join", "id": 1, "room": "r", "name": "x" * 65},
        {"type": "join", "id": 1, "room": "r", "name": "Ada", "client": "whip"},
        {"type": "publish", "id": 1, "sdp": ""},
        {"type": "publish", "id": 1, "sdp": "x" * 60_001},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": ""},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": "a" * 63},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": "a" * 64 + "\n"},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": "A" * 64},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": "g" * 64},
        {"type": "publish", "id": 1, "sdp": "v=0", "weights": 7},
        {"type": "view", "id": 1, "subscription": "s", "yaw": 46},
        {"type": "view", "id": 1, "subscription": "s", "pitch": float("inf")},
        {"type": "state", "id": 1, "muted": "yes"},
        {"type": "report", "id": 1, "subscription": "s", "freezes": -1},
    ],
)
def test_bad_messages(message: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(message)
    assert "\n" not in str(caught.value)


def test_oversized_message() -> None:
    with pytest.raises(TooLargeError):
        protocol.parse_message("x" * (BOUND + 1), BOUND)
    with pytest.raises(TooLargeError):
        protocol.parse_message("é" * (BOUND // 2 + 1), BOUND)


@given(st.text(max_size=300))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_message(text, BOUND)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
KINDS = ["join", "publish", "subscribe", "view", "state", "report", "ping", "leave"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["id", "room", "name", "sdp", "t", "yaw"]), JSON))
def test_any_fields_parse_or_are_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        message = parse(fields | {"type": kind})
    except ProtocolError:
        return
    assert message.id >= 0


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_message("[" * 60_000, BOUND)


def test_id_of_a_broken_message_is_found() -> None:
    assert protocol.request_id('{"type": "x", "id": 17, ') == 17
    assert protocol.request_id("{}") is None


def test_failure_names_the_code() -> None:
    message = protocol.failure(3, ForbiddenError("no"))
    assert message == {"type": "error", "id": 3, "code": "forbidden", "message": "no"}
