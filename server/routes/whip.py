"""WHIP (RFC 9725): players and tools made by others publish into a room."""

from __future__ import annotations

from aiohttp import web

from server.errors import ForbiddenError, NotFoundError
from server.routes import sdp
from server.routes.parts import bearer_claims, parts_of
from server.signalling.names import visible_name
from server.signalling.protocol import parse_room


async def post(request: web.Request) -> web.Response:
    """An offer in, 201 with answer and session out; the token's `name` or `sub` becomes the participant's name."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    claims.may_publish()
    offer = await sdp.read_offer(request)
    name = visible_name(claims.name) or visible_name(claims.sub) or "guest"
    participant, _ = parts.conference.join(claims, room, name, "whip", None, None)
    try:
        answer = await parts.conference.publish(participant.id, offer)
    except BaseException:
        parts.conference.leave(participant.id, reason="closed")
        raise
    return sdp.created(request, f"{room}/{participant.id}", answer, claims.sub)


async def delete(request: web.Request) -> web.Response:
    """End the session."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    participant = parts.conference.rooms.find(room, request.match_info["session"])
    if participant.client != "whip":
        raise NotFoundError("no such session")
    if participant.identity != claims.sub:
        raise ForbiddenError("the session is another's")
    parts.conference.leave(participant.id)
    return web.Response(status=200, headers=sdp.CORS)


ROUTES = sdp.session_routes("/whip/{room}", post, delete)
