"""A TCP proxy in front of a server, whose network can fail in the two ways that networks do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence


class TcpProxy:
    """Either nothing comes through and TCP waits (`hold`), or every connection breaks (`refuse`)."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._whole = asyncio.Event()
        self._whole.set()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        """Address of the server through this proxy."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def whole(self) -> bool:
        """Whether what is sent comes through."""
        return self._whole.is_set() and not self._refusing

    def hold(self) -> None:
        """From now on nothing comes through; what TCP has to say waits."""
        self._whole.clear()

    def refuse(self) -> None:
        """Every connection breaks, and new ones do at once."""
        self._refusing = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def mend(self) -> None:
        """Everything comes through again, and TCP says what it had to say."""
        self._refusing = False
        self._whole.set()

    async def close(self) -> None:
        """End every connection."""
        self.refuse()
        self._whole.set()
        if self._server is not None:
            self._server.close()
        for task in list(self._pumps):
            task.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(sink)
            sink.transport.abort() if not self._whole.is_set() else sink.close()


class LoadBalancer(TcpProxy):
    """Hands each connection to the next of several servers that takes it."""

    def __init__(self, targets: Sequence[tuple[str, int]]) -> None:
        super().__init__(*targets[0])
        self._targets = deque(targets)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in range(len(self._targets)):
            self._targets.rotate(-1)
            try:
                return await asyncio.open_connection(*self._targets[0])
            except OSError:
                pass
        raise ConnectionRefusedError
