"""HTTP and WebSocket: each module translates one kind of request to calls on the conference and back.

No state of calls is kept here and no media is touched. Errors are raised, never formatted: `errors.py` does that.
"""

from __future__ import annotations

from aiohttp import web

from server.routes import config, health, page, sources, websocket, whep, whip


def add_routes(application: web.Application) -> None:
    """Register every route but those of `api/`."""
    application.add_routes([*health.ROUTES, *config.ROUTES, *websocket.ROUTES, *sources.ROUTES])
    application.add_routes([*whip.ROUTES, *whep.ROUTES])
    page.add_routes(application)
