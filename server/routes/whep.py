"""WHEP (draft-ietf-wish-whep): any WebRTC player watches one participant."""

from __future__ import annotations

from aiohttp import web

from server.routes import sdp
from server.routes.parts import bearer_claims, parts_of, room_here
from server.routes.pools import pools_of
from server.signalling.protocol import parse_room
from server.signalling.subscriptions import Subscription


async def post(request: web.Request) -> web.Response:
    """A recvonly offer in, 201 with answer and session out."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    claims.may_subscribe()
    pools_of(request).admit_offer(claims.sub, request.remote, parts.clock())
    await room_here(request)
    participant = request.match_info["participant"]
    offer = await sdp.read_offer(request)
    session, answer = await parts.conference.subscribe(None, room, participant, offer, identity=claims.sub)
    return sdp.created(request, f"{participant}/{session}", answer, claims.sub)


async def patch(request: web.Request) -> web.Response:
    """More candidates of the session's client."""
    session = await _session(request)
    return await sdp.trickle(request, session.connection, session.offer)


async def delete(request: web.Request) -> web.Response:
    """End the session."""
    parts_of(request).conference.subscriptions.end(await _session(request), None)
    return web.Response(status=200)


async def _session(request: web.Request) -> Subscription:
    """The session that is named. Its name is a secret that only its viewer got. Raises NotFoundError."""
    bearer_claims(request).may_join(parse_room(request.match_info["room"]))
    await room_here(request)
    return parts_of(request).conference.subscriptions.get(None, request.match_info["session"])


ROUTES = sdp.session_routes("/whep/{room}/{participant}", post, patch, delete)
