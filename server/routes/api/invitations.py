"""Invitations: made by whoever may invite, and exchanged for a token by whoever was handed one."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from server.errors import ForbiddenError
from server.routes.api.operation import Model, Operation
from server.routes.parts import bearer_claims, parts_of
from server.routes.pools import pools_of
from server.signalling.protocol import parse_room


class NewInvitation(Model):
    """What an invitation should permit."""

    hours: float | None = Field(default=None, gt=0, description="Validity; by default the longest that is permitted.")
    publish: bool = Field(default=True, description="Whether who is invited may be seen and heard.")


class MadeInvitation(Model):
    """An invitation to hand on."""

    room: str
    invitation: str = Field(description="For the fragment of the page's address: `#invitation=...`.")
    expires: int = Field(description="Unix seconds.")


class GivenInvitation(Model):
    """An invitation that somebody was handed."""

    invitation: str = Field(min_length=1, max_length=1024)


class MadeToken(Model):
    """A token of one's own."""

    token: str
    room: str
    identity: str
    expires: int = Field(description="Unix seconds.")


async def invite(request: web.Request, body: NewInvitation) -> MadeInvitation:
    """An invitation never permits more than the token of whoever makes it."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_invite(room)
    administers = claims.administers(room)
    if body.publish and not (claims.video.canPublish or administers):
        raise ForbiddenError("the token does not permit publishing, nor inviting others to publish")
    longest = parts.settings.invitation_hours
    text = parts.invitations.issue(
        room,
        hours=min(body.hours or longest, longest),
        publish=body.publish,
        subscribe=claims.video.canSubscribe or administers,
    )
    return MadeInvitation(room=room, invitation=text, expires=int(parts.invitations.redeem(text).exp))


async def exchange(request: web.Request, body: GivenInvitation) -> MadeToken:
    """The token has a random identity, and lasts as long as others do."""
    parts = parts_of(request)
    pools_of(request).admit_token(request.remote, parts.clock())
    invitation = parts.invitations.redeem(body.invitation)
    token = parts.invitations.token(invitation, parts.settings.token_hours)
    claims = parts.authority.verify(token)
    return MadeToken(token=token, room=invitation.room, identity=claims.sub, expires=int(claims.exp))


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/rooms/{room}/invitations",
        name="invite",
        summary="Make an invitation to a room.",
        handle=invite,
        grant="canInvite for the room, or administer it",
        takes=NewInvitation,
        gives=MadeInvitation,
        errors=(400, 403, 413, 415),
    ),
    Operation(
        method="POST",
        path="/api/tokens",
        name="exchangeInvitation",
        summary="Exchange an invitation for a token.",
        handle=exchange,
        grant=None,
        takes=GivenInvitation,
        gives=MadeToken,
        errors=(400, 401, 413, 415, 429),
    ),
)
