"""One UDP port on all addresses of the machine: a socket for IPv4, one for IPv6, and which address a datagram is for.

A socket that is bound to no address leaves the source address of what it sends to the system, and a peer that asked one
address and is answered by another does not know it (RFC 8445, section 7.2.5.2.1). So each datagram is read together
with the address that it was sent to, and sent from one that is named (`IP_PKTINFO`, RFC 3542).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from server.ice.demultiplexer import Address

MAX_DATAGRAM = 2048
READS = 64
"""Datagrams read in one turn of the event loop: a flood leaves turns to everything else."""
BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the system for each direction; it gives what net.core.rmem_max allows."""

_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Python names it from 3.12 on; 8 is Linux's number

OnDatagram = Callable[[bytes, Address, "bytes | None"], None]
"""Called with a datagram, where it came from, and the packed local address that it was sent to."""


class PortSocket(Protocol):
    """A `UdpSocket`, or what takes its place."""

    @property
    def family(self) -> socket.AddressFamily: ...
    @property
    def port(self) -> int: ...
    def read(self, on_datagram: OnDatagram) -> None: ...
    def send(self, datagram: bytes, address: Address, local: bytes | None) -> bool: ...
    def close(self) -> None: ...


class UdpSocket:
    """The port's socket of one address family. `read` before use, `close` at the end."""

    def __init__(self, family: socket.AddressFamily, port: int) -> None:
        """Bind `port` on all addresses of the family; 0 takes a free one. Raises OSError."""
        self.family = family
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_datagram: OnDatagram = lambda *_: None
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if family == socket.AF_INET6:
                # Without this it would take IPv4, too, and no other socket could.
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            for direction in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, direction, BUFFER_BYTES)
            self._socket.bind(("", port))
        except BaseException:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """Its number."""
        return int(self._socket.getsockname()[1])

    def read(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram` with all that comes, on the running event loop."""
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, datagram: bytes, address: Address, local: bytes | None) -> bool:
        """Send from a local address of this machine, or from the system's choice; False where the system refuses.

        Never waits: what does not fit into the socket's buffer is lost, as it would be on a line that is too narrow.
        """
        try:
            self._socket.sendmsg([datagram], self._source(local), 0, address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Stop reading and give the port back; idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(READS):
            if self._loop is None:
                return  # closed by what was just delivered
            try:
                datagram, ancillary, _, source = self._socket.recvmsg(MAX_DATAGRAM, 128)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an error that an earlier datagram met; it tells nothing of this socket
            self._on_datagram(datagram, (source[0], source[1]), self._destination(ancillary))

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                return value[4:8]
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                return value[:16]
        return None

    def _source(self, local: bytes | None) -> list[tuple[int, int, bytes]]:
        if local is None:
            return []
        if self.family == socket.AF_INET6:
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", local, 0))]
        return [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, local, bytes(4)))]


def open_sockets(port: int) -> list[UdpSocket]:
    """The port's sockets: IPv4 and, where the machine has it, IPv6. Raises OSError when the port is taken."""
    sockets: list[UdpSocket] = []
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                sockets.append(UdpSocket(family, sockets[0].port if sockets else port))
            except OSError as error:
                # A machine may lack a family; that a port is taken or not permitted is another matter.
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
                    raise
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, "the machine has neither IPv4 nor IPv6")
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets
