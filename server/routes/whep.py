"""WHEP (draft-ietf-wish-whep): any WebRTC player watches one participant."""

from __future__ import annotations

from aiohttp import web

from server.routes import sdp
from server.routes.parts import bearer_claims, parts_of
from server.signalling.protocol import parse_room


async def post(request: web.Request) -> web.Response:
    """A recvonly offer in, 201 with answer and session out."""
    parts = parts_of(request)
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    claims.may_subscribe()
    participant = request.match_info["participant"]
    offer = await sdp.read_offer(request)
    session, answer = await parts.conference.subscribe(None, room, participant, offer, identity=claims.sub)
    return sdp.created(request, f"{participant}/{session}", answer, claims.sub)


async def delete(request: web.Request) -> web.Response:
    """End the session. Its name is a secret that only its viewer got."""
    parts = parts_of(request)
    bearer_claims(request).may_join(parse_room(request.match_info["room"]))
    subscriptions = parts.conference.subscriptions
    subscriptions.end(subscriptions.get(None, request.match_info["session"]), None)
    return web.Response(status=200, headers=sdp.CORS)


ROUTES = sdp.session_routes("/whep/{room}/{participant}", post, delete)
