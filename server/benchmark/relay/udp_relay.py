"""UDP between one client and the server's port, forwarded as a NAT does, late or never as the line has it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from server.benchmark.counted_sockets import IP_UDP_BYTES
from server.benchmark.network.datagrams import Address, Line

MAX_DATAGRAM = 65_535
READS = 64
"""Datagrams read in one turn of the event loop."""

MAX_MAPPINGS = 64
"""Client sockets that are forwarded; a client has one for each of its addresses and connections."""

BUFFER_BYTES = 1024 * 1024


class _Socket:
    """A UDP socket whose datagrams are handed on, with the address that they came from."""

    def __init__(self, receive: Callable[[bytes, Address], None], local: str, remote: Address | None = None) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for direction in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, direction, BUFFER_BYTES)
        try:
            self._socket.bind((local, 0))
            if remote is not None:
                self._socket.connect(remote)
        except OSError:
            self._socket.close()
            raise
        self.address: Address = self._socket.getsockname()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, datagram: bytes, target: Address | None = None) -> None:
        """To `target`, or where the socket is connected to. What the system refuses is lost."""
        if self._closed:
            return
        with suppress(OSError):
            if target is None:
                self._socket.send(datagram)
            else:
                self._socket.sendto(datagram, target)

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(READS):
            if self._closed:
                return
            try:
                datagram, source = self._socket.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an error that an earlier datagram met
            self._receive(datagram, source)


class UdpRelay:
    """Make it on a running event loop. `line` counts and decides; each client socket has a socket to the server."""

    def __init__(self, line: Line, host: str, server: Address) -> None:
        """`host`: address of this machine that the client sends to; `server`: of the server's one UDP port."""
        self._line = line
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._front = _Socket(self._from_client, host)
        self._mappings: dict[Address, _Socket] = {}
        self.passed: Counter[str] = Counter()
        """Bytes, headers of IP and UDP included, by direction: `up` went to the server, `down` to the client."""
        self.lost: Counter[str] = Counter()
        """Bytes that the line lost; whatever is in neither is still on its way."""
        self.late: list[float] = []
        """Seconds after its time that each datagram was sent on: what the machine adds to the line."""

    @property
    def address(self) -> Address:
        """Where the client sends to."""
        return self._front.address

    def move(self) -> None:
        """The server sees the client under other ports from now on; what is on its way to the old ones is lost."""
        for mapping in self._mappings.values():
            mapping.close()
        self._mappings.clear()

    def count_anew(self) -> None:
        """Forget what was counted."""
        self._line.counted.clear()
        self.passed.clear()
        self.lost.clear()
        self.late.clear()

    def close(self) -> None:
        """Close all sockets; idempotent."""
        self.move()
        self._front.close()

    def _from_client(self, datagram: bytes, client: Address) -> None:
        now, size = self._loop.time(), len(datagram) + IP_UDP_BYTES
        self._line.counted.sent(datagram)
        arrival = self._line.up.arrival(size, now)
        if arrival is None:
            self.lost["up"] += size
        else:
            self._loop.call_at(arrival, self._to_server, datagram, client, arrival)

    def _to_server(self, datagram: bytes, client: Address, due: float) -> None:
        self.late.append(self._loop.time() - due)
        size = len(datagram) + IP_UDP_BYTES
        mapping = self._mappings.get(client) or self._new_mapping(client)
        if mapping is None:
            self.lost["up"] += size
            return
        mapping.send(datagram)
        self.passed["up"] += size

    def _new_mapping(self, client: Address) -> _Socket | None:
        if len(self._mappings) >= MAX_MAPPINGS:
            return None

        def from_server(datagram: bytes, _: Address) -> None:
            self._from_server(datagram, client, mapping)

        mapping = self._mappings[client] = _Socket(from_server, self._server[0], self._server)
        return mapping

    def _from_server(self, datagram: bytes, client: Address, mapping: _Socket) -> None:
        size = len(datagram) + IP_UDP_BYTES
        arrival = self._line.down.arrival(size, self._loop.time())
        if arrival is None:
            self.lost["down"] += size
        else:
            self._loop.call_at(arrival, self._to_client, datagram, client, mapping, arrival)

    def _to_client(self, datagram: bytes, client: Address, mapping: _Socket, due: float) -> None:
        self.late.append(self._loop.time() - due)
        size = len(datagram) + IP_UDP_BYTES
        if self._mappings.get(client) is not mapping:
            self.lost["down"] += size
            return
        self._line.counted.received(datagram)
        self.passed["down"] += size
        self._front.send(datagram, client)
