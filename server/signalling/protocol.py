"""Messages on the WebSocket: what a client may send, checked, and what the server answers (docs/protocol.md).

JSON text messages, each an object with a `type`. A request carries `id`, an integer that its answer repeats.
Unknown fields are ignored, so that an older server serves a newer page; unknown types are errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from model.errors import VisavisError
from model.view_bounds import MAX_PITCH, MAX_ROLL, MAX_YAW
from server.errors import MovedError, ProtocolError, TooLargeError, code_of
from server.signalling.names import MAX_CHARACTERS, visible_name
from server.signalling.participant import Participant
from server.signalling.resumption import MAX_RESUME_CHARACTERS

MAX_SDP_CHARACTERS = 60_000
"""The longest session description that is read."""

RoomName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
DisplayName = Annotated[
    str,
    # Both before and after: what is left out must not make room for more, and something must be left.
    Field(min_length=1, max_length=MAX_CHARACTERS),
    AfterValidator(visible_name),
    Field(min_length=1),
]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Sdp = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SDP_CHARACTERS)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]

_ROOM = TypeAdapter(RoomName)


class _Message(BaseModel):
    # Strict: "1" is no id and "yes" no truth value, or two implementations would drift apart unnoticed.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Request(_Message):
    id: int = Field(ge=0, le=2**53)


class Join(_Request):
    """Enter a room; the first message of every client."""

    type: Literal["join"]
    room: RoomName
    name: DisplayName
    client: Literal["page", "daemon"] = "page"
    preview: bool = False
    resume: Annotated[str, StringConstraints(max_length=MAX_RESUME_CHARACTERS)] | None = None


class Publish(_Request):
    """Offer of the connection on which this participant sends; candidates inside. `weights`: whose motion it is."""

    type: Literal["publish"]
    sdp: Sdp
    weights: Sha256 | None = None


class Subscribe(_Request):
    """Offer of a recvonly connection on which to watch `participant`."""

    type: Literal["subscribe"]
    participant: Identifier
    sdp: Sdp
    codec: Literal["VP8", "H264"] | None = None


class Share(_Request):
    """Offer of the connection on which this participant shares its screen, beside what it publishes."""

    type: Literal["share"]
    sdp: Sdp


class Unshare(_Request):
    """Share the screen no longer."""

    type: Literal["unshare"]


class Unsubscribe(_Request):
    """End one subscription."""

    type: Literal["unsubscribe"]
    subscription: Identifier


class SetView(_Request):
    """Free view of one subscription, degrees; `reset` faces front."""

    type: Literal["view"]
    subscription: Identifier
    yaw: float = Field(default=0.0, ge=-MAX_YAW, le=MAX_YAW, allow_inf_nan=False)
    pitch: float = Field(default=0.0, ge=-MAX_PITCH, le=MAX_PITCH, allow_inf_nan=False)
    roll: float = Field(default=0.0, ge=-MAX_ROLL, le=MAX_ROLL, allow_inf_nan=False)
    reset: bool = False


class SetState(_Request):
    """What the others are shown; what is absent stays."""

    type: Literal["state"]
    muted: bool | None = None
    camera_off: bool | None = None
    name: DisplayName | None = None
    avatar: bool | None = None


class GetStatistics(_Request):
    """Ask for the numbers of everybody in the room."""

    type: Literal["statistics"]


class GetFrames(_Request):
    """Ask which pictures were sent, and when what they show was captured; since this was asked last."""

    type: Literal["frames"]


class Report(_Request):
    """What a viewer measured of one subscription; kept for the statistics of its sender."""

    type: Literal["report"]
    subscription: Identifier
    fps: Number | None = Field(default=None, ge=0, le=1000)
    freezes: int | None = Field(default=None, ge=0)
    lost: int | None = Field(default=None, ge=0)
    jitter_ms: Number | None = Field(default=None, ge=0)
    latency_ms: Number | None = Field(default=None, ge=0)


class Leave(_Request):
    """Go; the socket closes after the answer."""

    type: Literal["leave"]


class Ping(_Request):
    """Clock synchronisation: `t` comes back with the server's own clock."""

    type: Literal["ping"]
    t: Number


ClientMessage = (
    Join
    | Publish
    | Share
    | Unshare
    | Subscribe
    | Unsubscribe
    | SetView
    | SetState
    | GetStatistics
    | GetFrames
    | Report
    | Leave
    | Ping
)
_CLIENT_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])
_TYPES = (
    *("join", "publish", "share", "unshare", "subscribe", "unsubscribe", "view", "state"),
    *("statistics", "frames", "report", "leave", "ping"),
)


def parse_room(name: str) -> str:
    """`name` when it can name a room: 1 to 64 of A-Z a-z 0-9 . _ - ; raises ProtocolError otherwise."""
    try:
        return _ROOM.validate_python(name)
    except ValidationError:
        raise ProtocolError("a room's name is 1 to 64 letters, digits, dots, dashes or underscores") from None


def parse_message(text: str, max_bytes: int) -> ClientMessage:
    """Parse and check one message. Raises ProtocolError or TooLargeError."""
    if len(text) > max_bytes or len(text.encode(errors="surrogatepass")) > max_bytes:
        raise TooLargeError(f"a message is at most {max_bytes} bytes")
    try:
        return _CLIENT_MESSAGE.validate_python(json.loads(text))
    except (ValueError, RecursionError) as error:
        # ValidationError is a ValueError too, as is what json raises.
        raise ProtocolError(_explain(error)) from None


def request_id(text: str) -> int | None:
    """The `id` of a message that failed to parse, so that its sender knows which one failed; None when it has none."""
    match = re.search(r'"id"\s*:\s*(\d{1,16})', text[:65_536])
    return int(match.group(1)) if match else None


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "the message is not JSON"
    problem = error.errors(include_input=False, include_url=False)[0]
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found", "model_attributes_type", "dict_type"):
        return f"a message is an object whose type is one of {', '.join(_TYPES)}"
    location = ".".join(str(part) for part in problem["loc"])
    return f"{location}: {problem['msg']}"


# What the server sends


def ok(request: int, **fields: Any) -> dict[str, Any]:
    """Answer to a request that was carried out."""
    return {"type": "ok", "id": request, **fields}


def failure(request: int | None, error: VisavisError) -> dict[str, Any]:
    """Answer to a request that was refused; `id` is null when the request's could not be read."""
    where = {"address": error.address} if isinstance(error, MovedError) else {}
    return {"type": "error", "id": request, "code": code_of(error), "message": str(error), **where}


def internal_failure(request: int | None) -> dict[str, Any]:
    """Answer to a request that met a bug."""
    return {"type": "error", "id": request, "code": "internal", "message": "an error of the server"}


def roster(version: int, participants: Iterable[Participant]) -> dict[str, Any]:
    """Everybody in the room, in the order of joining; a higher version replaces a lower one."""
    return {"type": "roster", "version": version, "participants": [p.entry() for p in participants]}


def speaking(participant: str | None) -> dict[str, Any]:
    """The active speaker is another, or nobody."""
    return {"type": "speaking", "participant": participant}


def load(overloaded: bool) -> dict[str, Any]:
    """The server renders slower than it promised, or again as fast."""
    return {"type": "load", "overloaded": overloaded}


def recording(active: bool) -> dict[str, Any]:
    """The room is being recorded, or no longer."""
    return {"type": "recording", "recording": active}


def ended(subscription: str, reason: str) -> dict[str, Any]:
    """A subscription ended without its viewer's doing; reason: unpublished, gone or failed."""
    return {"type": "ended", "subscription": subscription, "reason": reason}


def mute(muted: bool) -> dict[str, Any]:
    """An administrator muted the participant, or lets it be heard again."""
    return {"type": "mute", "muted": muted}


def resume(token: str) -> dict[str, Any]:
    """The resume token to come back with from now on."""
    return {"type": "resume", "resume": token}


def closed(reason: str, address: str | None = None) -> dict[str, Any]:
    """The server closes the socket; reason: replaced, silent, removed, room_closed, shutdown, moved, slow or others.

    moved: the room goes on at the node with that `address`
    """
    return {"type": "closed", "reason": reason, **({} if address is None else {"address": address})}
