"""What a client says to the server over TCP, through the same line as its datagrams: WebSocket, HTTP, source images."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from server.benchmark.network.datagrams import Line
from server.benchmark.network.link import Link

SEGMENT = 1400
HEADERS = 40
"""Bytes of IPv4 and TCP."""

FIRST_TIMEOUT = 0.2
"""Seconds until a lost segment is sent again, each time twice as long (RFC 6298, with the least of Linux)."""

SYN_TIMEOUT = 1.0
"""The same of a connection's first segment (RFC 6298 section 2.1)."""


class TcpLine:
    """A proxy in front of the server, on the virtual loop. Segments wait, are lost and are sent again."""

    def __init__(self, line: Line, port: int) -> None:
        self._line = line
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        """Address of the server through this line."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        for link, source, sink in ((self._line.up, reader, far_writer), (self._line.down, far_reader, writer)):
            cast(socket.socket, sink.get_extra_info("socket")).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._pump(link, source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        timeout, arrived = SYN_TIMEOUT, 0.0
        try:
            while data := await source.read(65_536):
                for start in range(0, len(data), SEGMENT):
                    segment = data[start : start + SEGMENT]
                    while (arrival := link.arrival(len(segment) + HEADERS, loop.time())) is None:
                        await asyncio.sleep(timeout)
                        timeout *= 2
                    timeout, arrived = FIRST_TIMEOUT, max(arrival, arrived + 1e-6)
                    loop.call_at(arrived, _write, sink, segment)
            await asyncio.sleep(max(0.0, arrived - loop.time()) + 1e-6)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(sink)
            sink.close()


def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    if not sink.is_closing():
        sink.write(data)
