"""What WHIP and WHEP have in common: SDP bodies, 201 with Location, trickled candidates, ICE servers as links, CORS."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from server.errors import PreconditionError, ProtocolError, TooLargeError, UnprocessableError, UnsupportedMediaError
from server.routes.parts import CORS, parts_of, route_path
from server.signalling.connection import Connection
from server.signalling.offer import Offer
from server.signalling.protocol import MAX_SDP_CHARACTERS
from server.signalling.trickle import MAX_FRAGMENT_CHARACTERS, belonging, parse_fragment
from server.turn import IceServer

FRAGMENT = "application/trickle-ice-sdpfrag"


async def read_offer(request: web.Request) -> str:
    """The SDP offer in the body. Raises UnsupportedMediaError, TooLargeError, ProtocolError."""
    return await _read(request, "application/sdp", MAX_SDP_CHARACTERS)


async def _read(request: web.Request, content_type: str, limit: int) -> str:
    if request.content_type != content_type:
        raise UnsupportedMediaError(f"the body must be {content_type}")
    body = await request.content.read(limit + 1)
    while len(body) <= limit and not request.content.at_eof():
        body += await request.content.read(limit + 1 - len(body))
    if len(body) > limit:
        raise TooLargeError(f"a session description is at most {limit} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("the session description is not UTF-8") from None


def created(request: web.Request, location: str, sdp: str, identity: str) -> web.Response:
    """201 with the answer (RFC 9725, section 4.2) and the ICE servers (section 4.6).

    `location` is relative to the request's own address (RFC 3986, section 5), so that it holds behind a path prefix. Of
    several nodes it names the one that has the session.
    """
    if node := parts_of(request).settings.node_address:
        location = f"{node}{route_path(request).rpartition('/')[0]}/{location}"
    response = web.Response(status=201, text=sdp, content_type="application/sdp")
    response.headers.update(CORS)
    response.headers["Location"] = location
    response.headers["Cache-Control"] = "no-store"
    for server in parts_of(request).ice_servers.for_client(identity):
        for link in links(server):
            response.headers.add("Link", link)
    return response


def links(server: IceServer) -> list[str]:
    """`Link` values of one ICE server (RFC 9725, section 4.6)."""
    rest = ""
    if "username" in server:
        rest = f'; username="{server["username"]}"; credential="{server["credential"]}"; credential-type="password"'
    return [f'<{url}>; rel="ice-server"{rest}' for url in server["urls"]]


async def options(_request: web.Request) -> web.Response:
    """CORS preflight, and what the endpoint accepts (RFC 9725, section 4.2)."""
    return web.Response(
        status=204,
        headers=CORS
        | {
            "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
            "Access-Control-Max-Age": "86400",
            "Accept-Post": "application/sdp",
            "Accept-Patch": FRAGMENT,
        },
    )


async def trickle(request: web.Request, connection: Connection, offer: Offer) -> web.Response:
    """Candidates that the client found after its offer (RFC 9725, section 4.3.2); 204.

    An ICE restart is answered 422, as section 4.3.1 asks of a server that has trickle ICE alone. Such a server needs no
    entity tags: none was given out, so an If-Match that names one cannot hold.
    Raises UnsupportedMediaError, TooLargeError, ProtocolError, SdpError, UnprocessableError, PreconditionError.
    """
    private = parts_of(request).settings.takes_private_candidates
    fragment = parse_fragment(await _read(request, FRAGMENT, MAX_FRAGMENT_CHARACTERS), private)
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted.strip() != "*":
        raise PreconditionError("sessions have no entity tags here")
    if wanted is not None:
        raise UnprocessableError("ICE restarts are not supported: begin a new session")
    await connection.add_candidates(belonging(fragment, offer))
    return web.Response(status=204, headers=CORS)


def session_routes(resource: str, post: Handler, patch: Handler, delete: Handler) -> list[web.RouteDef]:
    """Routes of an endpoint: `post` an offer to `resource`, `patch` and `delete` the session below it."""
    session = f"{resource}/{{session}}"
    return [
        web.post(resource, post),
        web.options(resource, options),
        web.delete(session, delete),
        web.patch(session, patch),
        web.options(session, options),
    ]
