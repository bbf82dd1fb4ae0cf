"""Messages of the data channel `control`, in both directions: msgpack maps with a type `t` (docs/protocol.md).

Every message is checked field by field as it is parsed, and all are serialised here. Their times are milliseconds of
the speaker's own monotonic clock; inside, both sides count in seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgpack

from model.errors import BitstreamError
from server.wire.channel import DataChannel

MAX_BYTES = 4096
"""Longest message that is parsed."""

MAX_BUFFERED = 16_384
"""Bytes that may wait on the channel; beyond it the peer does not read and gets no more."""

SENDER_STAGES = ("capture", "extract", "encode", "audio")
"""Stages whose times the sender reports: camera to frame, frame to motion, motion to message, sound to packet."""

_MAX_INTEGER = 2**63 - 1
_MAX_MILLISECONDS = 2.0**53
"""A double holds a millisecond exactly up to here; beyond that no clock is meant."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Ping:
    """Asks for a pong; sent every second by both sides."""

    n: int
    ms: float


@dataclass(frozen=True)
class Pong:
    """Answers a ping: `n` and `ms` of the ping, and the answering clock."""

    n: int
    ms: float
    peer_ms: float


@dataclass(frozen=True)
class SourceAnnouncement:
    """From the sender: frames with this source index are driven from the image of this hash."""

    index: int
    sha256: str


@dataclass(frozen=True)
class SenderState:
    """From the sender: whether it has paused because no face is seen."""

    paused: bool


@dataclass(frozen=True)
class SenderStages:
    """From the sender: median milliseconds by name, of `SENDER_STAGES` those that it has."""

    milliseconds: Mapping[str, float]


@dataclass(frozen=True)
class NeedSource:
    """From the receiver: asks for the upload of a source image that it does not hold."""

    sha256: str


@dataclass(frozen=True)
class ReceiverStatistics:
    """From the receiver, every second: what it measured of the sender's stream."""

    fps: float  # pictures rendered a second
    state: str
    loss_percent: float
    viewers: int


ControlMessage: TypeAlias = (
    Ping | Pong | SourceAnnouncement | SenderState | SenderStages | NeedSource | ReceiverStatistics
)


def send_control(channel: DataChannel | None, message: ControlMessage) -> None:
    """Send a message; nothing while the channel is not open, and never more than `MAX_BUFFERED` when it is stuck."""
    if channel is not None and channel.readyState == "open" and channel.bufferedAmount < MAX_BUFFERED:
        channel.send(serialize_control(message))


def serialize_control(message: ControlMessage) -> bytes:
    """The bytes of a message."""
    match message:
        case Ping(n, ms):
            fields: dict[str, Any] = {"t": "ping", "n": n, "ms": ms}
        case Pong(n, ms, peer_ms):
            fields = {"t": "pong", "n": n, "ms": ms, "peer_ms": peer_ms}
        case SourceAnnouncement(index, sha256):
            fields = {"t": "source", "index": index, "sha256": sha256}
        case SenderState(paused):
            fields = {"t": "state", "paused": paused}
        case SenderStages(milliseconds):
            fields = {"t": "stages", **{name: milliseconds[name] for name in SENDER_STAGES if name in milliseconds}}
        case NeedSource(sha256):
            fields = {"t": "need_source", "sha256": sha256}
        case ReceiverStatistics():
            fields = {"t": "statistics", **vars(message)}
    return bytes(msgpack.packb(fields, use_bin_type=True))


def parse_control(data: object) -> ControlMessage | None:
    """A message of the other side; None for a type of a later version.

    Raises BitstreamError for text, anything too long, no map, or a field missing, of the wrong type or out of range.
    """
    if not isinstance(data, bytes):
        raise BitstreamError("control messages are binary")
    if len(data) > MAX_BYTES:
        raise BitstreamError(f"a control message has at most {MAX_BYTES} bytes, not {len(data)}")
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise BitstreamError(f"a control message must be msgpack ({error})") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("t"), str):
        raise BitstreamError("a control message must be a map with a type t")
    parser = _PARSERS.get(fields["t"])
    return None if parser is None else parser(fields)


def _stages(fields: dict[str, Any]) -> SenderStages:
    return SenderStages({name: _milliseconds(fields, name) for name in SENDER_STAGES if name in fields})


def _statistics(fields: dict[str, Any]) -> ReceiverStatistics:
    return ReceiverStatistics(
        _number(fields, "fps"), _text(fields, "state"), _number(fields, "loss_percent"), _integer(fields, "viewers")
    )


_PARSERS: dict[str, Callable[[dict[str, Any]], ControlMessage]] = {
    "ping": lambda fields: Ping(_integer(fields, "n"), _milliseconds(fields, "ms")),
    "pong": lambda fields: Pong(_integer(fields, "n"), _milliseconds(fields, "ms"), _milliseconds(fields, "peer_ms")),
    "source": lambda fields: SourceAnnouncement(_integer(fields, "index", 255), _sha256(fields)),
    "state": lambda fields: SenderState(_truth(fields, "paused")),
    "stages": _stages,
    "need_source": lambda fields: NeedSource(_sha256(fields)),
    "statistics": _statistics,
}


def _integer(fields: dict[str, Any], name: str, maximum: int = _MAX_INTEGER) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise _wrong(fields, name, f"an integer from 0 to {maximum}")
    return value


def _number(fields: dict[str, Any], name: str, maximum: float = math.inf) -> float:
    value = fields.get(name)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not 0 <= value <= maximum
    ):
        raise _wrong(fields, name, "a finite number within its bounds")
    return float(value)


def _milliseconds(fields: dict[str, Any], name: str) -> float:
    return _number(fields, name, _MAX_MILLISECONDS)


def _truth(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise _wrong(fields, name, "a truth value")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _wrong(fields, name, "a text")
    return value


def _sha256(fields: dict[str, Any]) -> str:
    value = fields.get("sha256")
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise _wrong(fields, "sha256", "64 hexadecimal digits in lower case")
    return value


def _wrong(fields: dict[str, Any], name: str, wanted: str) -> BitstreamError:
    return BitstreamError(f"{fields['t']}: {name} must be {wanted}")
