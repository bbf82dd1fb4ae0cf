"""UDP in memory: endpoints of hosts, and the line of each host to the server, where everything is counted."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from server.benchmark.counted_sockets import IP_UDP_BYTES, CountedBytes
from server.benchmark.network.link import Link, LinkSettings

Address = tuple[str, int]

SERVER = "10.0.0.1"

HOST: ContextVar[str] = ContextVar("HOST", default=SERVER)
"""Address of the host on which the present task, and what it starts, runs."""

Receive = Callable[[bytes, Address], None]


class Line:
    """Between one client and the server. Behind a translator of addresses, whose own address may change."""

    def __init__(self, host: str, settings: LinkSettings, chance: random.Random) -> None:
        self.up, self.down = Link(settings, chance), Link(settings, chance)
        self.counted = CountedBytes()
        """Up: what the client sends, whether it arrives or not; down: what comes to it."""
        self.host = host
        self.outside = host
        """The address as which the client is seen now."""
        self._changes = 0

    def configure(self, settings: LinkSettings) -> None:
        """From now on, both directions."""
        self.up.settings = self.down.settings = settings

    def cut(self, whole: bool = False) -> None:
        """From now on nothing comes through, or everything again."""
        self.up.cut = self.down.cut = not whole

    def move(self) -> None:
        """The client is seen under another address; what is sent to the old one is lost."""
        self._changes += 1
        self.outside = f"10.{self._changes}.{self.host.split('.', 2)[2]}"


class Datagrams:
    """All endpoints of one virtual network. Datagrams between a client and the server take the client's line."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self._endpoints: dict[Address, Receive] = {}
        self._ports = 40_000

    def bind(self, host: str, receive: Receive, port: int = 0) -> Address:
        """A new endpoint; its address."""
        self._ports += 1
        address = (host, port or self._ports)
        self._endpoints[address] = receive
        return address

    def release(self, address: Address) -> None:
        """Close an endpoint; idempotent."""
        self._endpoints.pop(address, None)

    def send(self, datagram: bytes, source: Address, target: Address) -> None:
        """On its way; whether it arrives is the line's."""
        loop = asyncio.get_running_loop()
        now, size = loop.time(), len(datagram) + IP_UDP_BYTES
        line = self.lines.get(source[0])
        if line is not None:
            line.counted.sent(datagram)
            arrival = line.up.arrival(size, now)
            if arrival is not None:
                loop.call_at(arrival, self._deliver, datagram, (line.outside, source[1]), target)
            return
        line = next((line for line in self.lines.values() if line.outside == target[0]), None)
        if line is None:
            return  # an address that was left
        arrival = line.down.arrival(size, now)
        if arrival is not None:
            loop.call_at(arrival, self._arrive, line, datagram, source, target)

    def _arrive(self, line: Line, datagram: bytes, source: Address, target: Address) -> None:
        if target[0] == line.outside:
            line.counted.received(datagram)
            self._deliver(datagram, source, (line.host, target[1]))

    def _deliver(self, datagram: bytes, source: Address, target: Address) -> None:
        receive = self._endpoints.get(target)
        if receive is not None:
            receive(datagram, source)


class Transport(asyncio.DatagramTransport):
    """An endpoint as asyncio's protocols see it."""

    def __init__(self, datagrams: Datagrams, protocol: Any) -> None:
        super().__init__()
        self._datagrams = datagrams
        self._protocol = protocol
        self._closed = False
        self._address = datagrams.bind(HOST.get(), lambda data, source: protocol.datagram_received(data, source))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._address if name == "sockname" else default

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closed:
            self._datagrams.send(bytes(data), self._address, (addr[0], addr[1]))

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._datagrams.release(self._address)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close


class ServerSocket:
    """The server's one UDP port: in place of `server.ice.udp_port.UdpSocket`."""

    family = socket.AF_INET

    def __init__(self, datagrams: Datagrams, port: int) -> None:
        self._datagrams = datagrams
        self.port = port
        self._address: Address = (SERVER, port)

    def read(self, on_datagram: Callable[[bytes, Address, bytes | None], None]) -> None:
        """Call `on_datagram` with all that comes."""
        self._datagrams.bind(SERVER, lambda data, source: on_datagram(data, source, None), self.port)

    def send(self, datagram: bytes, address: Address, local: bytes | None) -> bool:
        """Send; nothing is ever refused."""
        self._datagrams.send(bytes(datagram), self._address, address)
        return True

    def close(self) -> None:
        """Give the port back; idempotent."""
        self._datagrams.release(self._address)
