"""Real connections over one UDP port: many at once, both families, addresses that change, floods, and a clean end."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCDataChannel, RTCPeerConnection

from server.ice.aioice_private import IcePort
from server.ice.udp_port import READS, open_sockets
from server.media.aiortc_private import close_peer
from server.signalling.connection import Connection
from server.signalling.offer import parse_offer
from tests.server.fakes import until
from tests.server.signalling import (
    FakePublication,
    accept,
    assert_released,
    connected,
    offer,
    peer_connection,
    resources,
    running_call,
)
from tests.server.signalling.test_call import pictures, publish_motion, subscribe


@contextmanager
def ice_port() -> Iterator[IcePort]:
    """A port that nobody uses at the end any more."""
    port = IcePort(0)
    try:
        yield port
        assert (port.connections, port.entries) == (0, 0)
    finally:
        port.close()


def candidates(sdp: str) -> list[tuple[str, int]]:
    lines = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return [(line[4], int(line[5])) for line in lines]


async def open_channel(connection: Connection, port: IcePort, only: int | None = None) -> tuple[RTCPeerConnection, Any]:
    """A client with an open data channel; `only` of the server's candidates of one IP version."""
    client = peer_connection()
    channel = client.createDataChannel("test")
    answer = await connection.answer(parse_offer(await offer(client)))
    assert {number for _, number in candidates(answer)} == {port.number}
    if only is not None:
        kept = [
            line
            for line in answer.splitlines()
            if not line.startswith("a=candidate:") or (":" in line.split()[4]) == (only == 6)
        ]
        answer = "\r\n".join(kept) + "\r\n"
    await accept(client, answer)
    await connected(client)
    await until(lambda: channel.readyState == "open")
    return client, channel


def echo(channel: RTCDataChannel) -> None:
    """Send back what comes."""
    channel.on("message", channel.send)


def ice_of(peer: RTCPeerConnection) -> Any:
    (transport,) = peer._RTCPeerConnection__iceTransports  # type: ignore[attr-defined]
    return transport._connection


def _live(participant: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda roster: any(p["id"] == participant and p["state"] == "live" for p in roster)


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_call_over_one_port() -> None:
    """Publish and subscribe, several of each; the server binds nothing but the port."""
    before = resources()
    with ice_port() as port:
        async with running_call(120.0, share_port=port.share) as call:
            watched = []
            senders = []
            for number in range(3):
                sender, me = await call.join(f"Ada {number}", client="daemon")
                senders.append(await publish_motion(sender))
                viewer, _ = await call.join(f"Bob {number}")
                await viewer.roster(_live(me["participant"]))
                watched += [(await subscribe(viewer, me["participant"]))[0] for _ in range(2)]
            assert port.connections == 9
            for connection in watched:
                await pictures(connection)
            for publication in FakePublication.alive:
                assert publication.messages == [b"motion"], "each got its own message, and that once"
            for connection in [*watched, *senders]:
                await close_peer(connection)
            del publication
        assert port.dropped().refused == 0
    await assert_released(before)


@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("version", [4, 6])
async def test_each_ip_version(version: int) -> None:
    before = resources()
    async with asyncio.timeout(60):
        with ice_port() as port:
            connection = Connection(connect_seconds=10.0, share_port=port.share)
            echoed: list[Any] = []
            connection.on_channel(echo)
            if not any((":" in address) == (version == 6) for address in aioice.ice.get_host_addresses(True, True)):
                await connection.close()
                pytest.skip(f"this machine has no IPv{version} address")
            client, channel = await open_channel(connection, port, version)
            channel.on("message", echoed.append)
            channel.send("there and back")
            await until(lambda: echoed == ["there and back"])
            await close_peer(client)
            await connection.close()
    await assert_released(before)


@pytest.mark.asyncio
async def test_one_candidate_stands_for_all_addresses_behind_a_public_one() -> None:
    async with asyncio.timeout(20):
        with ice_port() as port:
            connection = Connection(connect_seconds=5.0, public_address="203.0.113.7", share_port=port.share)
            client = peer_connection()
            client.createDataChannel("test")
            answer = await connection.answer(parse_offer(await offer(client)))
            hosts = [host for host in candidates(answer) if ":" not in host[0]]
            assert hosts == [("203.0.113.7", port.number)]
            await close_peer(client)
            await connection.close()


class Nat(asyncio.DatagramProtocol):
    """Carries a client's datagrams to the server from a socket of its own, which `rebind` exchanges for another."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.client: tuple[str, int] | None = None
        self.outside: socket.socket | None = None
        self.ports: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inside: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client = addr
        if self.outside is not None:
            self.outside.sendto(data, self.server)

    def rebind(self) -> None:
        self.close()
        self.outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outside.setblocking(False)
        self.outside.bind(("127.0.0.1", 0))
        self.ports.append(self.outside.getsockname()[1])
        asyncio.get_running_loop().add_reader(self.outside, self._back, self.outside)

    def _back(self, outside: socket.socket) -> None:
        self.inside.sendto(outside.recv(4096), self.client)

    def close(self) -> None:
        if self.outside is not None:
            asyncio.get_running_loop().remove_reader(self.outside)
            self.outside.close()
            self.outside = None


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_client_whose_address_changes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NAT that forgets: the next check of consent comes from elsewhere and takes the connection along."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)
    before = resources()
    async with asyncio.timeout(60):
        with ice_port() as port:
            connection = Connection(connect_seconds=10.0, share_port=port.share)
            connection.on_channel(echo)
            loop = asyncio.get_running_loop()
            transport, nat = await loop.create_datagram_endpoint(
                lambda: Nat(("127.0.0.1", port.number)), local_addr=("127.0.0.1", 0)
            )
            nat.rebind()
            inside = transport.get_extra_info("sockname")
            client = peer_connection()
            channel = client.createDataChannel("test", ordered=True)
            sdp = await offer(client)
            # No candidates, and more to come: the server learns the address of the NAT alone.
            hidden = ("a=candidate:", "a=end-of-candidates")
            offered = "\r\n".join(line for line in sdp.splitlines() if not line.startswith(hidden)) + "\r\n"
            answer = await connection.answer(parse_offer(offered))
            lines = [line for line in answer.splitlines() if not line.startswith("a=candidate:")]
            place = lines.index("a=end-of-candidates")
            lines.insert(place, f"a=candidate:1 1 udp 1 {inside[0]} {inside[1]} typ host")
            await accept(client, "\r\n".join(lines) + "\r\n")
            await connected(client)
            await until(lambda: channel.readyState == "open")
            # Browsers nominate with every check (RFC 8445 calls it aggressive); aioice with the first alone.
            ice = ice_of(client)
            ask = ice.build_request
            monkeypatch.setattr(ice, "build_request", lambda pair, nominate: ask(pair, nominate=True))
            echoed: list[Any] = []
            channel.on("message", echoed.append)
            for turn in range(3):
                nat.rebind()
                channel.send(f"turn {turn}")
                await until(lambda turn=turn: f"turn {turn}" in echoed, 20)  # type: ignore[misc]
            assert len(set(nat.ports)) == 4
            await close_peer(client)
            await connection.close()
            nat.close()
            transport.close()
    await assert_released(before)


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_consent_that_expires_removes_the_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.stun, "RETRY_RTO", 0.05)
    async with asyncio.timeout(60):
        with ice_port() as port:
            connection = Connection(connect_seconds=10.0, share_port=port.share)
            client, _channel = await open_channel(connection, port)
            assert port.entries > 1
            for protocol in ice_of(client)._protocols:
                protocol.transport.sendto = lambda *_: None  # the client is gone and says nothing
                protocol.datagram_received = lambda *_: None
            await until(lambda: port.entries == 0, 20)
            await close_peer(client)
            await connection.close()


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_floods_of_garbage_are_bounded_and_disturb_nobody() -> None:
    before = resources()
    async with asyncio.timeout(60):
        with ice_port() as port:
            connection = Connection(connect_seconds=10.0, share_port=port.share)
            connection.on_channel(echo)
            client, channel = await open_channel(connection, port)
            echoed: list[Any] = []
            channel.on("message", echoed.append)
            entries = port.entries
            fragment = ice_of(connection.peer).local_username.encode()
            flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            flood.setblocking(False)
            dice = random.Random(3)
            kinds: tuple[Callable[[], bytes], ...] = (
                lambda: dice.randbytes(40),  # anything
                lambda: b"\x80\x60" + dice.randbytes(100),  # RTP of nobody
                lambda: b"\x16\xfe\xfd" + dice.randbytes(100),  # DTLS of nobody
                lambda: _stun(b"nobody:x" + dice.randbytes(8).hex().encode()),  # an unknown fragment
                lambda: _stun(fragment + b":x"),  # a known fragment without a password
            )
            for turn in range(50):
                for kind in kinds:
                    for _ in range(20):
                        flood.sendto(kind(), ("127.0.0.1", port.number))
                channel.send(str(turn))
                await until(lambda turn=turn: len(echoed) == turn + 1, 20)  # type: ignore[misc]
            await until(lambda: port.dropped().unknown >= 50 * 60)
            assert port.entries == entries
            flood.close()
            await close_peer(client)
            await connection.close()
    await assert_released(before)


def _stun(username: bytes) -> bytes:
    padded = username + bytes(-len(username) % 4)
    body = b"\0\6" + len(username).to_bytes(2, "big") + padded + b"\0\x24\0\4" + bytes(4)
    return b"\0\1" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + body


@pytest.mark.asyncio
async def test_damaged_stun_of_a_known_fragment_is_dropped() -> None:
    """What passes the first look and not the parser: never media, never an error on the event loop."""
    trouble: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: trouble.append(context))
    async with asyncio.timeout(30):
        with ice_port() as port:
            connection = Connection(connect_seconds=20.0, share_port=port.share)
            client = peer_connection()
            client.createDataChannel("test")
            await connection.answer(parse_offer(await offer(client)))
            ice = ice_of(connection.peer)
            whole = _stun(ice.local_username.encode() + b":x")
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            damaged = [
                whole[:-4] + b"\0\0\0",  # shorter than it says
                whole[:-6] + b"\0\1" + bytes(4),  # an attribute of one byte where four belong
                whole[:-8] + b"\x80\x28\0\4" + bytes(4),  # a checksum that is wrong
                whole[:-8] + b"\x80\x22\0\4\xff\xff\xff\xff",  # text that is none
            ]
            for datagram in damaged:
                sender.sendto(datagram, ("127.0.0.1", port.number))
            await until(lambda: port.dropped().malformed == len(damaged))
            assert ice._queue.qsize() == 0
            assert trouble == []
            sender.close()
            await close_peer(client)
            await connection.close()


@pytest.mark.asyncio
async def test_one_turn_of_the_loop_reads_a_bounded_number() -> None:
    (ipv4, *others) = open_sockets(0)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    turns: list[int] = []
    came = 0

    def received(*_: object) -> None:
        nonlocal came
        came += 1

    for _ in range(3 * READS):
        sender.sendto(b"x", ("127.0.0.1", ipv4.port))
    ipv4.read(received)
    async with asyncio.timeout(10):
        while came < 3 * READS:
            had = came
            await asyncio.sleep(0)
            turns.append(came - had)
    assert max(turns) <= READS
    for opened in (ipv4, *others):
        opened.close()
        opened.close()
    sender.close()


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    before = resources()
    first = IcePort(0)
    number = first.number
    with pytest.raises(OSError, match="in use"):
        IcePort(number)
    first.close()
    first.close()
    IcePort(number).close()
    await assert_released(before)
