"""The listening socket and its bounds: connections in all and per address, time for headers, bodies and idleness.

aiohttp has none of these. A guard stands before each of its connections and forwards everything when its turn has come;
what a connection is doing it learns from the application's middleware.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler

from server.awake_clock import AwakeClock
from server.errors import RequestTimeoutError, SettingsError
from server.quota import subscriber
from server.rate_limit import RateLimit
from server.settings import Settings
from server.turns import Turns

KEEP_ALIVE_SECONDS = 30.0
"""Between two requests, their answer included. Longer than clients keep a connection, so that they close it."""

SWEEP_SECONDS = 0.5

READ_BYTES = 16_384
"""Read from one connection before others have their turn."""

SOCKET_READ_BYTES = 4_096
"""The same of a WebSocket, in which six bytes are a frame."""

UNWANTED_BYTES = 65_536
"""What is still read of a body that nobody wants, so that the client comes to read the answer; the rest stays with it
until the connection is closed."""

SOCKET_MESSAGES_AT_ONCE = 16
"""Of a WebSocket: largest messages that may come at once; one a second sustained. In bytes, so that fragments count, of
which a message may have any number, empty ones too (RFC 6455, section 5.4), and which nobody sees before its end."""

BACKLOG = 128
"""Connections that wait to be accepted, and so are accepted at a time."""

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: application/json\r\nContent-Length: 57\r\n"
    b'Connection: close\r\n\r\n{"code": "capacity", "message": "too many connections"}\r\n'
)


@dataclass
class ConnectionCounts:
    """How many connections there are, in all and from each subscriber's address. Pure."""

    total: int
    per_address: int
    proxies: frozenset[str] = frozenset()  # many clients come from each of these
    _from: Counter[str] = field(default_factory=Counter)
    _all: int = 0

    def __len__(self) -> int:
        return self._all

    def admit(self, address: str) -> bool:
        """Count one more connection from there, or refuse it."""
        origin = subscriber(address)
        if self._all >= self.total or (address not in self.proxies and self._from[origin] >= self.per_address):
            return False
        self._all += 1
        self._from[origin] += 1
        return True

    def gone(self, address: str) -> None:
        """One connection from there has ended."""
        self._all -= 1
        origin = subscriber(address)
        self._from[origin] -= 1
        if not self._from[origin]:
            del self._from[origin]


class Guard(asyncio.BufferedProtocol):
    """Stands before aiohttp's protocol of one connection.

    It reads little at a time and waits for its turn with what it has read, so that hundreds of connections which bring
    something at once are served over many turns of the loop: 40,000 WebSocket frames fit into the quarter of a megabyte
    that the loop would read at once. Nothing more is read from a connection that waits.
    """

    def __init__(self, listener: Listener, make_inner: Callable[[], Any]) -> None:
        self._listener = listener
        self._make_inner = make_inner
        self._inner: Any = None
        self._address = ""
        self._transport: asyncio.Transport | None = None
        self._request: web.BaseRequest | None = None
        self._since = 0.0  # the present request began, or the last one ended
        self._limit = listener.header_seconds
        self._unsent = 0
        self._allowance: RateLimit | None = None  # bytes, of a WebSocket
        self._buffer = bytearray(READ_BYTES)
        self._held = b""  # read, not yet handed on
        self._waiting = False  # for its turn
        self._lost = False
        self._error: Exception | None = None  # that it was lost by
        self._known = False  # was answered before, or is a WebSocket
        self._unwanted: int | None = None  # bytes that are still read of a body that nobody wants

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection on, or refuse it."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        if not self._listener.counts.admit(self._address):
            transport.write(BUSY)
            transport.close()
            return
        self._transport, self._since = transport, self._listener.clock()
        self._listener.guards[transport] = self
        self._inner = self._make_inner()
        self._inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:
        """Where the loop reads to."""
        return self._buffer if self._allowance is None else memoryview(self._buffer)[:SOCKET_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read, in its turn, unless it is more than a WebSocket may bring, or not wanted."""
        if self._inner is None or self._transport is None:
            return
        if self._allowance is not None and not self._allowance.admit(self._listener.clock(), nbytes):
            self._transport.abort()
            return
        if self._unwanted is not None:
            self._unwanted -= nbytes
            if self._unwanted < 0:
                self._transport.pause_reading()
                return
        self._held += bytes(memoryview(self._buffer)[:nbytes])
        self._in_turn()

    def eof_received(self) -> bool | None:
        """Forward."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Forward."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Forward."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Forward, in its turn, and give the place back."""
        if self._inner is not None:
            self._lost, self._error = True, error
            self._in_turn()

    def _in_turn(self) -> None:
        """Do what is to be done now, or when the turn has come."""
        if self._waiting:
            return
        assert self._transport is not None
        if self._listener.turns.admit():
            self._work()
            return
        self._waiting = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
        # Who was answered before does not stand behind a crowd that has just come, nor the other way round.
        self._listener.turns.wait((subscriber(self._address), self._known), self._work)

    def _work(self) -> None:
        assert self._transport is not None
        waited, self._waiting = self._waiting, False
        held, self._held = self._held, b""
        if self._lost:
            del self._listener.guards[self._transport]
            self._listener.counts.gone(self._address)
            self._inner.connection_lost(self._error)
        elif not self._transport.is_closing():
            if waited:
                # Before aiohttp has the data, which may pause again.
                self._transport.resume_reading()
            self._inner.data_received(held)

    def began(self, request: web.BaseRequest) -> None:
        """A request's headers are complete."""
        self._request, self._since = request, self._listener.clock()
        self._unwanted = None
        if request.headers.get("Upgrade", "").lower() == "websocket":
            rate = self._listener.socket_bytes
            self._allowance = RateLimit(rate, SOCKET_MESSAGES_AT_ONCE * rate)
            self._known = True

    def ended(self) -> None:
        """Its handler has returned; the answer may still have to be sent."""
        if self._request is not None and not self._request.content.is_eof():
            self._unwanted = UNWANTED_BYTES
        self._request, self._since = None, self._listener.clock()
        self._known = True
        self._allowance = None
        self._limit = max(KEEP_ALIVE_SECONDS, self._listener.header_seconds)

    def check(self, now: float) -> bool:
        """End what takes too long: headers, a body, an idle connection, an answer that nobody reads. Whether it did."""
        assert self._transport is not None
        if self._lost:
            return False
        if self._request is not None:
            late = not self._request.content.is_eof() and now - self._since >= self._listener.body_seconds
            if late:
                self._request.content.set_exception(RequestTimeoutError("the body took too long"))
                self._since = now
            return late
        unsent = self._transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._since = now  # slowly, but it is being read
        self._unsent = unsent
        late = now - self._since >= self._limit
        if late:
            self._transport.abort()
        return late


class Listener:
    """Listens for an application. `start` binds the port, `close` frees it; connections end with the runner."""

    def __init__(self, runner: web.AppRunner, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner = runner
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        # Time in which this process stood still is nobody's slowness.
        self.clock = AwakeClock(clock)
        self.header_seconds = settings.header_seconds
        self.body_seconds = settings.body_seconds
        self.socket_bytes = settings.max_message_bytes
        self.counts = ConnectionCounts(
            settings.max_connections, settings.max_connections_per_address, frozenset(settings.proxies)
        )
        self.guards: dict[asyncio.Transport, Guard] = {}
        self.turns = Turns(asyncio.get_running_loop().call_soon)

    @property
    def port(self) -> int:
        """The port that is bound."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Bind and listen. Raises SettingsError when the port is taken or the address is not this machine's."""
        server, settings = self._runner.server, self._settings
        assert server is not None, "set up the runner first"
        self._runner.app[LISTENER].append(self)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Guard(self, server), settings.host, settings.port, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or error
            raise SettingsError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
        self._sweeper = asyncio.create_task(self._sweep(), name="connection sweeper")

    async def close(self) -> None:
        """Listen no more; idempotent. What is connected stays until the runner is cleaned up."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.turns.end()
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self.clock()
            for guard in list(self.guards.values()):
                if guard.check(now):
                    await asyncio.sleep(0)  # hundreds that came together end together


LISTENER = web.AppKey("listener", list[Listener])


@web.middleware
async def watch_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the connection's guard know when a request begins and ends."""
    guard = None
    for listener in request.app[LISTENER]:
        with contextlib.suppress(KeyError, TypeError):
            guard = listener.guards[request.transport]  # type: ignore[index]  # None once the client has gone
    if guard is None:
        return await handler(request)
    guard.began(request)
    try:
        return await handler(request)
    finally:
        guard.ended()
