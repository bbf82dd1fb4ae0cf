"""`python -m server serve`: the receiver, with its page."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from server.app import build_app
from server.commands.event_loop import loop_factory
from server.errors import SettingsError
from server.garbage import defer_collection, freeze_loaded
from server.ice.aioice_private import IcePort
from server.listener import KEEP_ALIVE_SECONDS, Listener
from server.logs import set_up_logging
from server.metrics import Metrics
from server.receiver.render_capacity import RenderCapacity
from server.receiver.render_engine import ENGINE_THREAD
from server.routes.page import warn_of_other_weights
from server.routes.parts import PARTS
from server.settings import Settings, load_settings
from server.signalling.connection import SharePort

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
    defer_collection()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve(settings))
    finally:
        gc.enable()
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        # It still loads, which nothing can interrupt, and the end of the interpreter under it would be a crash.
        logging.shutdown()
        os._exit(0)
    return 0


async def serve(settings: Settings, ready: asyncio.Event | None = None) -> None:
    """Run the receiver with these settings until a signal comes; `ready` is set when it takes calls.

    The port is bound and files are checked before anything is loaded. Clients join and connect while the model loads;
    until it is there /readyz answers 503.

    While the model loads a signal ends everything at once. Later, SIGTERM: /readyz turns 503, rooms move to other nodes
    where there are any, and calls go on for `drain_seconds`, or until the last client went; SIGINT, or a second signal:
    clients are informed and closed at once. Raises SettingsError when the port is taken, WeightsError.
    """
    check_files(settings)
    metrics = Metrics()
    with _ice_port(settings.udp_port, metrics) as share_port:
        await _serve(settings, ready, metrics, share_port)
    logger.info("stopped")


async def _serve(
    settings: Settings, ready: asyncio.Event | None, metrics: Metrics, share_port: SharePort | None
) -> None:
    stop, now = asyncio.Event(), asyncio.Event()
    _on_signals(stop, now)
    capacity = RenderCapacity(settings.render_fps, settings.admit_share)
    application = build_app(settings, None, metrics, capacity=capacity, share_port=share_port)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=10.0, keepalive_timeout=KEEP_ALIVE_SECONDS, lingering_time=1.0
    )
    await runner.setup()
    listener = Listener(runner, settings)
    try:
        await listener.start()
        logger.info("loading the model", extra={"port": listener.port})
        # Not at the top: it loads what neither --help nor /healthz need wait for.
        live = importlib.import_module("server.live")
        async with live.live_receiver(settings, metrics, time.monotonic, capacity) as receiver:
            conference = application[PARTS].conference
            try:
                conference.open(receiver.make_publication, receiver.weights)
                warn_of_other_weights(application[PARTS])
                if not await _loaded(receiver.loaded(), stop):
                    return
                conference.loaded.set()
                frozen = freeze_loaded()
                logger.info("what is loaded is left out of garbage collection", extra={"objects": frozen})
                host = f"[{settings.host}]" if ":" in settings.host else settings.host
                logger.info("listening on http://%s:%d", "localhost" if settings.development else host, listener.port)
                if ready is not None:
                    ready.set()
                await stop.wait()
                await _drain(application, settings.drain_seconds, now)
            finally:
                # Calls end before the engine that renders them.
                await listener.close()
                await runner.cleanup()
    finally:
        await listener.close()
        await runner.cleanup()


async def _loaded(loading: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Wait for the model; False where a signal comes first. Raises what loading raises."""
    waits = [asyncio.ensure_future(loading), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if waits[0].done():
            waits[0].result()
        return waits[0].done()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


@contextlib.contextmanager
def _ice_port(number: int, metrics: Metrics) -> Iterator[SharePort | None]:
    """The UDP port that all connections share; none for 0. Raises SettingsError when it is taken."""
    if not number:
        yield None
        return
    try:
        port = IcePort(number)
    except OSError as error:
        raise SettingsError(f"VISAVIS_UDP_PORT: cannot use UDP port {number}: {error.strerror or error}") from None
    metrics.watch_udp_port(lambda: port.connections, lambda: vars(port.dropped()))
    logger.info("all media on one UDP port", extra={"port": port.number})
    try:
        yield port.share
    finally:
        port.close()


def check_files(settings: Settings) -> None:
    """Raise SettingsError for files that the settings name and that are not there: before anything is loaded."""
    if settings.weights is not None and not settings.weights.is_file():
        raise SettingsError(f"VISAVIS_WEIGHTS: no weights at {settings.weights}")
    if settings.recordings is not None and not (
        settings.recordings.is_dir() and os.access(settings.recordings, os.W_OK | os.X_OK)
    ):
        raise SettingsError(f"VISAVIS_RECORDINGS: {settings.recordings} is no directory that can be written to")
    if not (settings.client_folder / "index.html").is_file():
        raise SettingsError(f"VISAVIS_CLIENT_FOLDER: no page in {settings.client_folder}")


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
    parts = application[PARTS]
    parts.conference.draining = True
    deadline = time.monotonic() + seconds
    moving = asyncio.create_task(parts.nodes.drain(seconds), name="rooms move")
    try:
        while parts.conference.busy and not now.is_set() and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(now.wait(), 0.1)
    finally:
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
