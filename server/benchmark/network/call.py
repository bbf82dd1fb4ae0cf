"""One call in virtual time: the daemon, the server and a viewer, each on a host of its own with a line."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import aiohttp
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from server.app import build_app
from server.awake_clock import AwakeClock
from server.benchmark.network.datagrams import HOST, SERVER, Line, ServerSocket
from server.benchmark.network.link import LinkSettings
from server.benchmark.network.measuring import CallRecord, LineRecord
from server.benchmark.network.stand_in import StandInEngine
from server.benchmark.network.talk import CallLog, Materials, talking_daemon
from server.benchmark.network.tcp_line import TcpLine
from server.benchmark.network.viewer import Viewer
from server.benchmark.network.virtual_loop import VirtualLoop
from server.ice.aioice_private import IcePort
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.source_cache import SourceCache
from server.receiver.source_image import Crop
from server.sender.daemon import Daemon
from server.settings import load_settings

SENDER, VIEWER = "10.0.0.2", "10.0.0.3"
ROOM = "network"
UDP_PORT = 8443


@dataclass
class VirtualCall:
    """A call that stands. A `CallOverLines`."""

    daemon: Daemon
    viewer: Viewer
    sender_line: Line
    viewer_line: Line
    log: CallLog

    async def change(self, sender: LinkSettings, viewer: LinkSettings) -> None:
        self.sender_line.configure(sender)
        self.viewer_line.configure(viewer)

    async def cut(self, whole: bool = False) -> None:
        self.sender_line.cut(whole)

    async def move(self) -> None:
        self.sender_line.move()

    async def count_anew(self) -> None:
        for line in (self.sender_line, self.viewer_line):
            line.counted.clear()

    async def lines(self) -> tuple[LineRecord, LineRecord]:
        return _line_record(self.sender_line), _line_record(self.viewer_line)

    async def record(self) -> CallRecord:
        viewer = self.viewer
        return CallRecord(
            self.log.spoken,
            viewer.sound,
            viewer.pictures,
            viewer.captured,
            viewer.keyframes_asked,
            self.daemon.status().reconnects,
        )


def _line_record(line: Line) -> LineRecord:
    return LineRecord(line.counted, line.up.waits, line.down.waits)


class _Whole:
    """A picture is the head's crop already."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.side = float(picture.shape[0])

    def cut(self, frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """As it is."""
        return frame


@asynccontextmanager
async def standing_call(materials: Materials, seed: int, voice: bool = True) -> AsyncIterator[VirtualCall]:
    """A call over good lines, with a picture on the viewer's screen; the lines may be changed from then on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    random.seed(seed)
    logging.getLogger("aioice").setLevel(logging.ERROR)
    lines = {host: Line(host, LinkSettings(), random.Random(seed + n)) for n, host in enumerate((SENDER, VIEWER))}
    loop.datagrams.lines = lines
    async with _server(materials, loop) as port, aiohttp.ClientSession() as http:
        tcp = {host: TcpLine(line, port) for host, line in lines.items()}
        addresses = {host: await one.open() for host, one in tcp.items()}
        log = CallLog()
        daemon = talking_daemon(materials, addresses[SENDER], ROOM, loop.time, seed, log if voice else None)
        viewer = Viewer(http, addresses[VIEWER], ROOM, loop.time)
        sending = _on(SENDER, daemon.run)
        watching = _on(VIEWER, viewer.run)
        try:
            async with asyncio.timeout(20):
                while not viewer.captured:
                    for task in (sending, watching):
                        if task.done():
                            task.result()
                    await asyncio.sleep(0.1)
            yield VirtualCall(daemon, viewer, lines[SENDER], lines[VIEWER], log)
        finally:
            for line in lines.values():
                line.configure(LinkSettings())
                line.cut(whole=True)
            daemon.stop()
            await asyncio.gather(sending, return_exceptions=True)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await viewer.close()
            for one in tcp.values():
                await one.close()


def _on(host: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task on another host."""

    async def there() -> None:
        HOST.set(host)
        await run()

    return asyncio.create_task(there(), name=f"visavis-host-{host}")


@asynccontextmanager
async def _server(materials: Materials, loop: VirtualLoop) -> AsyncIterator[int]:
    """The server on its host; the port of its TCP."""
    HOST.set(SERVER)
    engine = StandInEngine(materials.profile, materials.statistics)
    cache = SourceCache(engine.as_engine(), find_crop=lambda picture: cast(Crop, _Whole(picture)))
    awake, settings = AwakeClock(loop.time), PublicationSettings(fps=25.0)
    ice = IcePort(UDP_PORT, sockets=[ServerSocket(loop.datagrams, UDP_PORT)])
    app = build_app(
        load_settings(host="127.0.0.1", private_candidates=True),
        lambda participant: Publication(participant, engine.as_engine(), cache, settings, loop.time, awake=awake),
        clock=loop.time,
        capacity=engine.capacity,
        share_port=ice.share,
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
        await cache.close()
        ice.close()
