"""Messages of the data channel `control`: msgpack maps with a type `t`, checked field by field (docs/protocol.md).

Times are milliseconds of the speaker's own monotonic clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgpack

from model.errors import BitstreamError

MAX_BYTES = 4096
"""Longest message that is looked at."""

SENDER_STAGES = ("capture", "extract", "encode", "audio")
"""Stages whose times the sender reports: camera to frame, frame to motion, motion to message, sound to packet."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PACKER_OPTIONS: dict[str, Any] = {"use_bin_type": True}


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
    """Frames with this source index are driven from the image of this hash."""

    index: int
    sha256: str


@dataclass(frozen=True)
class SenderState:
    """Whether the sender has paused because no face is seen."""

    paused: bool


@dataclass(frozen=True)
class SenderStages:
    """Median milliseconds of the sender's stages."""

    milliseconds: dict[str, float]


ControlMessage: TypeAlias = Ping | Pong | SourceAnnouncement | SenderState | SenderStages


def parse_control(data: bytes) -> ControlMessage | None:
    """A message of the sender; None for a type of a later version.

    Raises BitstreamError for anything too long, no map, or with a field missing, of the wrong type or out of range.
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
    kind = fields["t"]
    if kind == "ping":
        return Ping(_integer(fields, "n"), _milliseconds(fields, "ms"))
    if kind == "pong":
        return Pong(_integer(fields, "n"), _milliseconds(fields, "ms"), _milliseconds(fields, "peer_ms"))
    if kind == "source":
        sha256 = fields.get("sha256")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise BitstreamError("source: sha256 must be 64 hexadecimal digits")
        return SourceAnnouncement(_integer(fields, "index", 255), sha256)
    if kind == "state":
        paused = fields.get("paused")
        if not isinstance(paused, bool):
            raise BitstreamError("state: paused must be a truth value")
        return SenderState(paused)
    if kind == "stages":
        return SenderStages({name: _milliseconds(fields, name) for name in SENDER_STAGES if name in fields})
    return None


def serialize_ping(n: int, ms: float) -> bytes:
    """The bytes of a ping."""
    return _pack({"t": "ping", "n": n, "ms": ms})


def serialize_pong(ping: Ping, now_ms: float) -> bytes:
    """The answer to a ping."""
    return _pack({"t": "pong", "n": ping.n, "ms": ping.ms, "peer_ms": now_ms})


def serialize_need_source(sha256: str) -> bytes:
    """Asks the sender to upload a source image that the receiver does not hold."""
    return _pack({"t": "need_source", "sha256": sha256})


def serialize_statistics(statistics: dict[str, Any]) -> bytes:
    """What the receiver measured, for the sender's status line."""
    return _pack({"t": "statistics", **statistics})


def _pack(fields: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(fields, **_PACKER_OPTIONS))


def _integer(fields: dict[str, Any], name: str, maximum: int = 2**63 - 1) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise BitstreamError(f"{fields['t']}: {name} must be an integer from 0 to {maximum}")
    return value


def _milliseconds(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    # A double holds a millisecond exactly up to 2**53; beyond that no clock is meant.
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not 0 <= value <= 2**53
    ):
        raise BitstreamError(f"{fields['t']}: {name} must be milliseconds")
    return float(value)
