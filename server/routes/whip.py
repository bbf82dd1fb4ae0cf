"""WHIP (RFC 9725): players and tools made by others publish into a room."""

from __future__ import annotations

from aiohttp import web

from server.errors import ForbiddenError, NotFoundError
from server.routes import sdp
from server.routes.parts import bearer_claims, parts_of, room_here
from server.routes.pools import pools_of
from server.signalling.names import visible_name
from server.signalling.offer import parse_offer, publishing
from server.signalling.protocol import parse_room


async def post(request: web.Request) -> web.Response:
    """An offer in, 201 with answer and session out; the token's `name` or `sub` becomes the participant's name."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    claims.may_publish()
    pools_of(request).admit_offer(claims.sub, request.remote, parts.clock())
    await parts.nodes.open(room)
    offer = await sdp.read_offer(request)
    publishing(parse_offer(offer))
    for other in parts.conference.rooms.roster(room):
        if other.client == "whip" and other.identity == claims.sub:
            # A camera that came back without having said goodbye.
            parts.conference.leave(other.id, reason="replaced")
    name = visible_name(claims.name) or visible_name(claims.sub) or "guest"
    participant, _ = parts.conference.join(claims, room, name, "whip", None, None)
    try:
        answer = await parts.conference.publish(participant.id, offer)
    except BaseException:
        parts.conference.leave(participant.id, reason="closed")
        raise
    return sdp.created(request, f"{room}/{participant.id}", answer, claims.sub)


async def patch(request: web.Request) -> web.Response:
    """More candidates of the session's client."""
    session = await _session(request)
    return await sdp.trickle(request, *parts_of(request).conference.publishers.connection(session))


async def delete(request: web.Request) -> web.Response:
    """End the session."""
    parts_of(request).conference.leave(await _session(request))
    return web.Response(status=200)


async def _session(request: web.Request) -> str:
    """The participant whose session is named, if it is the token's own. Raises NotFoundError, ForbiddenError."""
    claims = bearer_claims(request)
    claims.may_join(parse_room(request.match_info["room"]))
    room = await room_here(request)
    participant = parts_of(request).conference.rooms.find(room, request.match_info["session"])
    if participant.client != "whip":
        raise NotFoundError("no such session")
    if participant.identity != claims.sub:
        raise ForbiddenError("the session is another's")
    return participant.id


ROUTES = sdp.session_routes("/whip/{room}", post, patch, delete)
