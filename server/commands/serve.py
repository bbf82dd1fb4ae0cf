"""`python -m server serve`: the receiver, with its page."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from server.app import build_app
from server.commands.event_loop import loop_factory
from server.errors import SettingsError
from server.ice.aioice_private import IcePort
from server.logs import set_up_logging
from server.metrics import Metrics
from server.routes.parts import PARTS
from server.settings import Settings, load_settings

HELP = "Run the receiver: rooms, rendering and the browser page."

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line. Everything else is set by VISAVIS_* (deploy/visavis.env.example)."""
    parser.epilog = "Every other setting is an environment variable VISAVIS_*: see deploy/visavis.env.example."
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; any other needs a key and a secret)")
    parser.add_argument("--port", type=int, help="TCP port (default 8080; 0 takes a free one)")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--weights", type=Path, help="weights file (default: the embedded small model)")
    parser.add_argument("--random-weights", action="store_true", default=None, help="untrained model, for development")
    parser.add_argument("--log-format", choices=("human", "json"), help="default human")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default info")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    settings = load_settings(
        host=options.host,
        port=options.port,
        device=options.device,
        weights=options.weights,
        random_weights=options.random_weights,
        log_format=options.log_format,
        log_level=options.log_level,
    )
    set_up_logging(settings.log_format, settings.log_level)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(settings))
    return 0


async def serve(settings: Settings, ready: asyncio.Event | None = None) -> None:
    """Run the receiver with these settings until a signal comes; `ready` is set when it listens.

    SIGTERM: /readyz turns 503 and calls go on for `drain_seconds`, or until the last client went; SIGINT, or a second
    signal: clients are informed and closed at once. Raises SettingsError when the port is taken.
    """
    # Not at the top: it loads torch, which --help and a wrong setting need not wait for.
    from server.live import live_receiver

    stop, now = asyncio.Event(), asyncio.Event()
    _on_signals(stop, now)
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as parts:
        # First the port, which fails at once where it is taken; the model takes seconds to load.
        port = parts.enter_context(_ice_port(settings.udp_port, metrics)) if settings.udp_port else None
        make_publication = await parts.enter_async_context(live_receiver(settings, metrics, time.monotonic))
        application = build_app(settings, make_publication, metrics, share_port=None if port is None else port.share)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=10.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.port)
            try:
                await site.start()
            except OSError as error:
                reason = error.strerror or error
                raise SettingsError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
            port = runner.addresses[0][1]
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            logger.info("listening on http://%s:%d", "localhost" if settings.development else host, port)
            if ready is not None:
                ready.set()
            await stop.wait()
            await _drain(application, settings.drain_seconds, now)
        finally:
            await runner.cleanup()
    logger.info("stopped")


@contextlib.contextmanager
def _ice_port(number: int, metrics: Metrics) -> Iterator[IcePort]:
    """The UDP port that all connections share. Raises SettingsError when it is taken."""
    try:
        port = IcePort(number)
    except OSError as error:
        raise SettingsError(f"VISAVIS_UDP_PORT: cannot use UDP port {number}: {error.strerror or error}") from None
    metrics.watch_udp_port(lambda: port.connections, lambda: vars(port.dropped()))
    logger.info("all media on one UDP port", extra={"port": port.number})
    try:
        yield port
    finally:
        port.close()


def _on_signals(stop: asyncio.Event, now: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        now.set()

    def terminated() -> None:
        if stop.is_set():
            now.set()
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, terminated)
    except NotImplementedError:  # Windows: KeyboardInterrupt ends the runner instead
        return


async def _drain(application: web.Application, seconds: float, now: asyncio.Event) -> None:
    """Take nothing new, and wait until everybody went, the time is over or somebody insists."""
    conference = application[PARTS].conference
    conference.draining = True
    deadline = time.monotonic() + seconds
    while conference.busy and not now.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), 0.1)
