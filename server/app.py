"""The aiohttp application: built from settings and injected parts, started and stopped cleanly."""

from __future__ import annotations

import importlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from server.auth import Authority
from server.invitations import Invitations
from server.listener import LISTENER, watch_requests
from server.metrics import Metrics
from server.nodes.node import Node, Nodes
from server.nodes.single import SingleNode
from server.recording.recordings import RecordingLimits, Recordings
from server.routes import add_routes, api
from server.routes.errors import errors_middleware
from server.routes.parts import PARTS, Parts
from server.routes.pools import POOLS, Pools
from server.settings import Settings
from server.signalling.conference import Conference
from server.signalling.connection import SharePort
from server.signalling.ports import CapacityPort, PublicationFactory
from server.signalling.resumption import ResumeTokens
from server.turn import IceServers
from server.webhooks import Webhooks, http_post


def unguessable() -> str:
    """48 random hexadecimal digits, cut for identifiers. A command line takes a leading dash for an option."""
    return secrets.token_hex(24)


def build_app(
    settings: Settings,
    make_publication: PublicationFactory | None,
    metrics: Metrics | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    new_secret: Callable[[], str] = unguessable,
    capacity: CapacityPort | None = None,
    share_port: SharePort | None = None,
) -> web.Application:
    """An application that is ready to run; its conference starts and closes with it.

    Without `make_publication` it answers 503 to calls until its conference is opened with one.
    `clock` is monotonic, `wall_clock` Unix seconds (tokens and TURN credentials). With `share_port` all connections use
    one UDP port, without it each has ports of its own.
    """
    metrics = metrics or Metrics()
    authority = Authority.from_settings(settings, wall_clock)
    conference = Conference(settings, make_publication, metrics, clock, new_secret, capacity, share_port)
    nodes = _nodes(settings, conference, metrics, clock)
    recordings = Recordings(
        _recording_limits(settings),
        clock,
        wall_clock,
        conference.rooms.roster,
        conference.publishers.of,
        conference.announce_recording,
        conference.tell,
        nodes.mark,
    )
    conference.on_roster = recordings.follow
    application = web.Application(
        middlewares=[watch_requests, errors_middleware], client_max_size=settings.source_max_bytes
    )
    application[LISTENER] = []
    application[POOLS] = Pools.from_settings(settings)
    application[PARTS] = Parts(
        settings=settings,
        authority=authority,
        invitations=Invitations(authority),
        ice_servers=IceServers.from_settings(settings, wall_clock),
        resume_tokens=ResumeTokens(authority, settings.resume_token_seconds),
        conference=conference,
        nodes=nodes,
        metrics=metrics,
        recordings=recordings,
        clock=clock,
    )
    add_routes(application, api.ROUTES, settings.node_path)

    async def run_webhooks(_application: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as http:
            webhooks = Webhooks(http_post(http, settings.webhook_url), authority, metrics, new_secret)
            webhooks.start()
            conference.on_room_event = webhooks.add
            yield
            await webhooks.close()

    async def run_recordings(_application: web.Application) -> AsyncIterator[None]:
        await recordings.open()
        yield
        await recordings.close()

    async def run_conference(_application: web.Application) -> AsyncIterator[None]:
        await conference.start()
        await nodes.start()
        yield
        await nodes.close()
        await conference.close()

    async def shut_down(_application: web.Application) -> None:
        # The lease, so that nobody is sent here; then sockets: aiohttp waits for their handlers before it cleans up.
        await nodes.close()
        await conference.close()

    if settings.webhook_url:
        application.cleanup_ctx.append(run_webhooks)
    application.cleanup_ctx.append(run_recordings)
    application.cleanup_ctx.append(run_conference)
    application.on_shutdown.append(shut_down)
    return application


def _nodes(settings: Settings, conference: Conference, metrics: Metrics, clock: Callable[[], float]) -> Nodes:
    """The node among those that share its Redis; alone without one."""
    name, address = settings.node_name or socket.gethostname(), settings.node_address
    redis_url = settings.redis_url.get_secret_value()
    if not redis_url:
        return SingleNode(conference, name, address)
    # Not at the top: without other nodes nothing needs redis.
    registry = importlib.import_module("server.nodes.registry")
    return Node(registry.RedisRegistry(registry.connect(redis_url), address), conference, name, address, metrics, clock)


def _recording_limits(settings: Settings) -> RecordingLimits:
    return RecordingLimits(
        directory=settings.recordings,
        at_once=settings.max_recordings,
        max_bytes=settings.recording_max_mb << 20,
        max_seconds=settings.recording_hours * 3600.0,
        min_free_bytes=settings.recording_min_free_mb << 20,
    )
