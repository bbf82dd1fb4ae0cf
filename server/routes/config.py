"""`GET /api/config`: what the page and the daemon need to know before they join."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

import server
from server.errors import ForbiddenError
from server.routes.page import sends_motion
from server.routes.parts import parts_of
from server.settings import is_loopback
from server.signalling.protocol import parse_room


async def config(request: web.Request) -> web.Response:
    """Version, room and bounds; in development mode also a token for `?room=`."""
    parts = parts_of(request)
    settings = parts.settings
    room = parse_room(request.query.get("room") or settings.default_room)
    answer: dict[str, object] = {
        "version": server.__version__,
        "development": settings.development,
        "room": room,
        "limits": parts.limits(),
        "motion": sends_motion(parts),
    }
    if settings.development:
        # The name in Host must be this machine's own: otherwise a foreign page whose name was pointed at 127.0.0.1
        # (DNS rebinding) could read a token here.
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise ForbiddenError("without a key visavis serves localhost alone: open it as http://localhost")
        answer["token"] = parts.authority.mint(room, hours=settings.token_hours, record=parts.recordings.enabled)
    return web.json_response(answer, headers={"Cache-Control": "no-store"})


ROUTES = [web.get("/api/config", config)]
