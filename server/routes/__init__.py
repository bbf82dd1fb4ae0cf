"""HTTP and WebSocket: each module translates one kind of request to calls on the conference and back.

No state of calls is kept here and no media is touched. Errors are raised, never formatted: `errors.py` does that.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from server.routes import config, health, page, sources, websocket, whep, whip


def add_routes(application: web.Application, api: Iterable[web.RouteDef], node_path: str) -> None:
    """Register every route. What belongs to a room is there below `node_path`, too: meant for this node alone."""
    of_rooms = [*config.ROUTES, *websocket.ROUTES, *sources.ROUTES, *whip.ROUTES, *whep.ROUTES, *api]
    application.add_routes([*health.ROUTES, *of_rooms])
    if node_path:
        for route in of_rooms:
            application.router.add_route(route.method, node_path + route.path, route.handler)
    page.add_routes(application)
