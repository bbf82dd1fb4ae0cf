"""A server behind its real listener, on loopback: what attacks reach. Clients speak through raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from server.app import build_app
from server.listener import Listener
from server.routes.parts import PARTS, Parts
from server.settings import Settings
from server.signalling.ports import PublicationFactory
from tests.server.signalling import FakePublication, assert_released, resources


@dataclass(frozen=True)
class Listening:
    """A server that listens, and its parts."""

    listener: Listener
    parts: Parts

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    async def open(self, first: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection on which `first` was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(first)
        await writer.drain()
        return reader, writer

    def token(self, **options: Any) -> str:
        return self.parts.authority.mint("lobby", **options)


@asynccontextmanager
async def listening(
    limit: float = 60.0, publications: PublicationFactory = FakePublication, **settings: Any
) -> AsyncIterator[Listening]:
    """A server on a free port of loopback; nothing may be left of it afterwards."""
    before = resources()
    given = Settings(**{"port": 0, "gone_seconds": 60.0} | settings)
    application = build_app(given, publications)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, lingering_time=1.0)
    await runner.setup()
    listener = Listener(runner, given)
    try:
        async with asyncio.timeout(limit):
            await listener.start()
            yield Listening(listener, application[PARTS])
    finally:
        await listener.close()
        await runner.cleanup()
    assert len(listener.counts) == 0
    await assert_released(before)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that the server still sends, once it has closed the connection."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""
