"""Liveness, readiness and metrics, for orchestrators and Prometheus."""

from __future__ import annotations

import asyncio

from aiohttp import web

from server.routes.errors import RETRY_AFTER_SECONDS
from server.routes.parts import parts_of


async def healthz(_request: web.Request) -> web.Response:
    """The event loop turns."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """New calls are taken; 503 while the server starts, drains or has no time for one more face."""
    readiness = parts_of(request).conference.readiness
    headers = {"Cache-Control": "no-store"}
    if readiness != "ready":
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return web.json_response({"status": readiness}, status=200 if readiness == "ready" else 503, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus exposition."""
    parts = parts_of(request)
    parts.metrics.tasks(len(asyncio.all_tasks()))
    return web.Response(
        body=parts.metrics.exposition(),
        headers={"Content-Type": parts.metrics.content_type, "Cache-Control": "no-store"},
    )


ROUTES = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
