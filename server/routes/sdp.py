"""What WHIP and WHEP have in common: SDP bodies, 201 with Location, ICE servers as links, CORS."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from server.errors import ProtocolError, TooLargeError, UnsupportedMediaError
from server.routes.parts import parts_of
from server.signalling.protocol import MAX_SDP_CHARACTERS
from server.turn import IceServer

CORS = {
    # No cookie is ever read here, the token comes in a header: any origin may ask.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, Link",
}


async def read_offer(request: web.Request) -> str:
    """The SDP offer in the body. Raises UnsupportedMediaError, TooLargeError, ProtocolError."""
    if request.content_type != "application/sdp":
        raise UnsupportedMediaError("the body must be application/sdp")
    body = await request.content.read(MAX_SDP_CHARACTERS + 1)
    while len(body) <= MAX_SDP_CHARACTERS and not request.content.at_eof():
        body += await request.content.read(MAX_SDP_CHARACTERS + 1 - len(body))
    if len(body) > MAX_SDP_CHARACTERS:
        raise TooLargeError(f"a session description is at most {MAX_SDP_CHARACTERS} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("the session description is not UTF-8") from None


def created(request: web.Request, location: str, sdp: str, identity: str) -> web.Response:
    """201 with the answer (RFC 9725, section 4.2) and the ICE servers (section 4.6).

    `location` is relative to the request's own address (RFC 3986, section 5), so that it holds behind a path prefix.
    """
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
            "Access-Control-Allow-Methods": "POST, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "86400",
            "Accept-Post": "application/sdp",
        },
    )


async def no_patch(_request: web.Request) -> web.Response:
    """Neither trickle ICE nor ICE restarts: 405 for every PATCH (RFC 9725, section 4.3)."""
    raise web.HTTPMethodNotAllowed("PATCH", ["DELETE", "OPTIONS"])


def session_routes(resource: str, post: Handler, delete: Handler) -> list[web.RouteDef]:
    """Routes of an endpoint: `post` an offer to `resource`, `delete` the session below it."""
    session = f"{resource}/{{session}}"
    return [
        web.post(resource, post),
        web.options(resource, options),
        web.delete(session, delete),
        web.patch(session, no_patch),
        web.options(session, options),
    ]
