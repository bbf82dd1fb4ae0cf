"""Runs aioice's connections over a shared port. Everything that visavis needs of aioice beyond its public interface.

aioice binds a socket for each connection and address. Here the method that does so is replaced: a connection gets one
`StunProtocol` for each socket of the port, whose transport is its share of that socket. Names are compared with aioice
0.13 by a test.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct
from collections.abc import Sequence
from typing import Any, cast

from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol
from aiortc import RTCPeerConnection

from server.ice.demultiplexer import Address, Counters, Demultiplexer
from server.ice.udp_port import PortSocket, open_sockets

MAX_WAITING = 1024
"""Datagrams that wait until a connection reads them; aioice's queue has no bound."""

_VERSION = {socket.AF_INET: 4, socket.AF_INET6: 6}


class _Lane:
    """One socket of the port with its connections."""

    def __init__(self, udp: PortSocket) -> None:
        self.udp = udp
        self.version = _VERSION[udp.family]
        self.connections: Demultiplexer[_Share] = Demultiplexer()
        udp.read(self._received)

    def _received(self, datagram: bytes, address: Address, local: bytes | None) -> None:
        delivery = self.connections.route(datagram, address, local)
        if delivery is None:
            return
        if delivery.kind == "data":
            delivery.owner.data_received(datagram)
        else:
            delivery.owner.stun_received(datagram, address, local)

    def send(self, owner: _Share, datagram: bytes, address: Address, local: bytes | None = None) -> None:
        local = local or self.connections.local_for(owner, address)
        if not self.udp.send(datagram, address, local):
            self.connections.counters.unsent += 1


class _Transport(asyncio.DatagramTransport):
    """What aioice takes for the connection's own socket."""

    def __init__(self, share: _Share, lane: _Lane) -> None:
        super().__init__()
        self._share = share
        self._lane = lane
        self._closed = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closed:
            self._lane.send(self._share, data, addr)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._lane.connections.remove(self._share)
            asyncio.get_running_loop().call_soon(self._share.connection_lost, None)

    abort = close


class _Share(StunProtocol):
    """One connection's share of one socket."""

    def __init__(self, connection: Connection, lane: _Lane) -> None:
        super().__init__(connection)
        self._lane = lane
        self._asked_at: bytes | None = None  # local address of the request that is being answered
        self.transport = _Transport(self, lane)
        lane.connections.add(self, connection.local_username)

    def data_received(self, datagram: bytes) -> None:
        if self.receiver._queue.qsize() < MAX_WAITING:
            self.receiver.data_received(datagram, self.local_candidate.component)
        else:
            self._lane.connections.counters.refused += 1

    def stun_received(self, datagram: bytes, address: Address, local: bytes | None) -> None:
        try:
            message = stun.parse_message(datagram)
        except (ValueError, struct.error):
            # aioice would take it for media.
            self._lane.connections.counters.malformed += 1
            return
        if message.message_class != stun.Class.REQUEST:
            transaction = self.transactions.get(message.transaction_id)
            if transaction is not None:
                transaction.response_received(message, address)
        elif "PRIORITY" not in message.attributes:
            self._lane.connections.counters.malformed += 1  # RFC 8445, section 7.1.1, asks for it; so does aioice
        else:
            self._asked_at = local
            self.receiver.request_received(message, address, self)
            self._asked_at = None

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        """Aioice answers a request while it reads it, and with success only one that was authenticated."""
        if message.message_class == stun.Class.RESPONSE:
            self._lane.connections.learn(self, addr, self._asked_at)
        answers = message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR)
        self._lane.send(self, bytes(message), addr, self._asked_at if answers else None)

    async def request(
        self,
        request: stun.Message,
        addr: Address,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, Address]:
        self._lane.connections.expect(self, request.transaction_id)
        try:
            response, source = await super().request(request, addr, integrity_key, retransmissions)
        finally:
            self._lane.connections.forget(self, request.transaction_id)
        self._lane.connections.learn(self, source, proven=True)
        return response, source


class IcePort:
    """A UDP port that many peer connections share. Make it on a running event loop; close it after all of them."""

    def __init__(self, number: int, sockets: Sequence[PortSocket] | None = None) -> None:
        """Open the port on all addresses, unless `sockets` are given; 0 takes a free one. Raises OSError."""
        self._lanes = [_Lane(udp) for udp in (open_sockets(number) if sockets is None else sockets)]

    @property
    def number(self) -> int:
        """The port."""
        return self._lanes[0].udp.port

    @property
    def connections(self) -> int:
        """Connections that use it, each once."""
        return max(len(lane.connections) for lane in self._lanes)

    @property
    def entries(self) -> int:
        """Everything that is remembered of all connections; 0 when all are closed."""
        return sum(lane.connections.entries for lane in self._lanes)

    def dropped(self) -> Counters:
        """Datagrams dropped since the start."""
        total = Counters()
        for lane in self._lanes:
            for name, count in vars(lane.connections.counters).items():
                setattr(total, name, getattr(total, name) + count)
        return total

    def share(self, peer: RTCPeerConnection) -> None:
        """Let a peer connection use this port alone. Call it between its remote and its local description."""
        for transport in cast(Any, peer)._RTCPeerConnection__iceTransports:
            connection: Connection = transport._connection
            # aioice's own four characters collide among thousands of connections, and can be tried out.
            connection._local_username = secrets.token_hex(8)
            # Instance attributes; mypy rightly asks why.
            connection.get_component_candidates = self._gather_for(connection)  # type: ignore[method-assign]

    def _gather_for(self, connection: Connection) -> Any:
        async def gather(component: int, addresses: list[str]) -> list[Candidate]:
            """In place of aioice's: host candidates alone, since this port is where clients are to come to."""
            return [c for lane in self._lanes for c in _host_candidates(connection, lane, component, addresses)]

        return gather

    def close(self) -> None:
        """Give the port back; idempotent."""
        for lane in self._lanes:
            lane.udp.close()


def _host_candidates(connection: Connection, lane: _Lane, component: int, addresses: list[str]) -> list[Candidate]:
    """A candidate for each address of the socket's family. One protocol stands behind them all: one socket does."""
    own = [address for address in addresses if ipaddress.ip_address(address).version == lane.version]
    candidates = [
        Candidate(
            foundation=candidate_foundation("host", "udp", address),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=address,
            port=lane.udp.port,
            type="host",
        )
        for address in own
    ]
    if candidates:
        share = _Share(connection, lane)
        share.local_candidate = candidates[0]
        connection._protocols.append(share)
    return candidates
