"""Liveness, readiness and metrics, for orchestrators and Prometheus."""

from __future__ import annotations

from aiohttp import web

from server.routes.parts import parts_of


async def healthz(_request: web.Request) -> web.Response:
    """The event loop turns."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """New calls are taken; 503 while the server drains."""
    draining = parts_of(request).conference.draining
    return web.json_response(
        {"status": "draining" if draining else "ready"},
        status=503 if draining else 200,
        headers={"Cache-Control": "no-store"},
    )


async def metrics(request: web.Request) -> web.Response:
    """Prometheus exposition."""
    parts = parts_of(request)
    return web.Response(
        body=parts.metrics.exposition(),
        headers={"Content-Type": parts.metrics.content_type, "Cache-Control": "no-store"},
    )


ROUTES = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
