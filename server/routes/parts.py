"""The parts that requests work with, and what most of them need: the token and the client's identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from server.auth import Authority, Claims
from server.invitations import Invitations
from server.metrics import Metrics
from server.nodes.node import Nodes
from server.recording.recordings import Recordings
from server.settings import Settings
from server.signalling.conference import Conference
from server.signalling.protocol import parse_room
from server.signalling.resumption import ResumeTokens
from server.turn import IceServers


@dataclass(frozen=True)
class Parts:
    """Everything that the application was built from."""

    settings: Settings
    authority: Authority
    invitations: Invitations
    ice_servers: IceServers
    resume_tokens: ResumeTokens
    conference: Conference
    nodes: Nodes
    metrics: Metrics
    recordings: Recordings
    clock: Callable[[], float]  # monotonic seconds

    def limits(self) -> dict[str, int]:
        """The bounds that clients are sent, by their names in docs/protocol.md."""
        return {
            "participants": self.settings.max_participants,
            "sources": self.settings.max_sources,
            "source_bytes": self.settings.source_max_bytes,
            "message_bytes": self.settings.max_message_bytes,
        }


CORS = {
    # Of WHIP and WHEP. No cookie is ever read there, the token comes in a header: any origin may ask.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, Link, Accept-Post, Accept-Patch",
}

PARTS = web.AppKey("parts", Parts)


def parts_of(request: web.Request) -> Parts:
    """The application's parts."""
    return request.app[PARTS]


def route_path(request: web.Request) -> str:
    """The request's path without the one below which this node is reached as itself."""
    return request.path.removeprefix(parts_of(request).settings.node_path)


async def room_here(request: web.Request) -> str:
    """The room that the path names. Raises MovedError where it lives on another node, ProtocolError, and others.

    To be asked for once it is known that the token opens the room.
    """
    room = parse_room(request.match_info["room"])
    await parts_of(request).nodes.find(room)
    return room


def bearer_claims(request: web.Request) -> Claims:
    """Claims of the token in `Authorization: Bearer` (RFC 6750); raises UnauthorizedError."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return parts_of(request).authority.verify(token.strip() if scheme.lower() == "bearer" else "")
