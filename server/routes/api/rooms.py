"""Administration: which rooms there are and who is in them; mute, remove, close."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import Field

from server.errors import ForbiddenError
from server.routes.api.operation import ADMINISTER, Model, Operation
from server.routes.parts import Parts, bearer_claims, parts_of, room_here
from server.signalling.participant import Participant
from server.signalling.protocol import parse_room


class ParticipantModel(Model):
    """One participant, as an administrator sees it."""

    id: str
    identity: str
    name: str
    client: Literal["page", "daemon", "whip", "screen"]
    kind: Literal["motion", "camera", "screen", "none"]
    rendered: bool
    state: Literal["live", "lost", "waiting"]
    muted: bool
    camera_off: bool
    avatar: bool
    publication: int
    owner: str | None = Field(description="Of a screen: who shares it.")

    @classmethod
    def of(cls, participant: Participant) -> ParticipantModel:
        """As it is now."""
        return cls.model_validate(participant, from_attributes=True)


class RoomModel(Model):
    """A room with somebody in it."""

    name: str
    participants: list[ParticipantModel]


class RoomSummary(Model):
    """A room in the list of rooms."""

    name: str
    participants: int
    publishing: int


class RoomList(Model):
    """The rooms that the token administers."""

    rooms: list[RoomSummary]


class Muting(Model):
    """Whether nobody is to hear the participant."""

    muted: bool = True


def _summary(parts: Parts, room: str) -> RoomSummary:
    roster = [participant for participant in parts.conference.rooms.roster(room) if participant.owner is None]
    publishing = sum(participant.kind != "none" for participant in roster)
    return RoomSummary(name=room, participants=len(roster), publishing=publishing)


async def _administered(request: web.Request) -> str:
    """The room that is named, where the token administers it. Raises ForbiddenError, UnauthorizedError, MovedError."""
    bearer_claims(request).may_administer(parse_room(request.match_info["room"]))
    return await room_here(request)


async def list_rooms(request: web.Request, _body: None) -> RoomList:
    """Of this node: all of them with `admin`, else the one that the token administers."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    if not (claims.video.admin or claims.video.roomAdmin):
        raise ForbiddenError("the token does not administer any room")
    names = [name for name in parts.conference.rooms.names() if claims.administers(name)]
    return RoomList(rooms=[_summary(parts, name) for name in names])


async def get_room(request: web.Request, _body: None) -> RoomModel:
    """Everybody in one room."""
    room = await _administered(request)
    roster = parts_of(request).conference.administration.roster(room)
    return RoomModel(name=room, participants=[ParticipantModel.of(participant) for participant in roster])


async def close_room(request: web.Request, _body: None) -> None:
    """Everybody leaves. Tokens and invitations stay good."""
    room = await _administered(request)
    parts_of(request).conference.administration.close(room)


async def get_participant(request: web.Request, _body: None) -> ParticipantModel:
    """One of them."""
    room = await _administered(request)
    return ParticipantModel.of(parts_of(request).conference.rooms.find(room, request.match_info["id"]))


async def remove_participant(request: web.Request, _body: None) -> None:
    """It leaves, and its identity stays out as long as the room lasts."""
    room = await _administered(request)
    parts_of(request).conference.administration.remove(room, request.match_info["id"])


async def mute_participant(request: web.Request, body: Muting) -> None:
    """Nobody hears it until it unmutes itself, or is unmuted here."""
    room = await _administered(request)
    parts_of(request).conference.administration.mute(room, request.match_info["id"], body.muted)


_ROOM = "/api/rooms/{room}"
_PARTICIPANT = _ROOM + "/participants/{id}"

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/rooms",
        name="listRooms",
        summary="The rooms of this node that have somebody in them.",
        handle=list_rooms,
        grant="admin or roomAdmin",
        gives=RoomList,
        errors=(403,),
    ),
    Operation(
        method="GET",
        path=_ROOM,
        name="getRoom",
        summary="Who is in a room.",
        handle=get_room,
        grant=ADMINISTER,
        gives=RoomModel,
        errors=(307, 400, 403, 404, 503),
    ),
    Operation(
        method="DELETE",
        path=_ROOM,
        name="closeRoom",
        summary="Make everybody leave a room.",
        handle=close_room,
        grant=ADMINISTER,
        errors=(307, 400, 403, 404, 503),
    ),
    Operation(
        method="GET",
        path=_PARTICIPANT,
        name="getParticipant",
        summary="One participant of a room.",
        handle=get_participant,
        grant=ADMINISTER,
        gives=ParticipantModel,
        errors=(307, 400, 403, 404, 503),
    ),
    Operation(
        method="DELETE",
        path=_PARTICIPANT,
        name="removeParticipant",
        summary="Make one participant leave a room.",
        handle=remove_participant,
        grant=ADMINISTER,
        errors=(307, 400, 403, 404, 503),
    ),
    Operation(
        method="POST",
        path=_PARTICIPANT + "/mute",
        name="muteParticipant",
        summary="Mute one participant, or let it be heard again.",
        handle=mute_participant,
        grant=ADMINISTER,
        takes=Muting,
        errors=(307, 400, 403, 404, 413, 415, 503),
    ),
)
