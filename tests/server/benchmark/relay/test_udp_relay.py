"""UDP through the relay: counted as it passes, lost as the line has it, forwarded as a NAT does."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from server.benchmark.counted_sockets import IP_UDP_BYTES
from server.benchmark.network.datagrams import Line
from server.benchmark.network.link import LinkSettings
from server.benchmark.relay.udp_relay import MAX_MAPPINGS, UdpRelay

LOCAL = "127.0.0.1"
QUICK = LinkSettings(delay=0.0)
PATIENCE = 30.0


class Peer:
    """A socket that waits for what comes."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOCAL, 0))
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().sock_recvfrom(self.socket, 2048)

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(data, to)


@asynccontextmanager
async def relayed(settings: LinkSettings = QUICK) -> AsyncIterator[tuple[Peer, Peer, UdpRelay, Line]]:
    client, server = Peer(), Peer()
    line = Line("client", settings, random.Random(1))
    relay = UdpRelay(line, LOCAL, server.address)
    try:
        yield client, server, relay, line
    finally:
        relay.close()
        relay.close()
        client.socket.close()
        server.socket.close()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("that never came")


async def until_settled(relay: UdpRelay, line: Line, sent: int) -> None:
    """Until all that was sent has passed or is lost."""
    await until(lambda: line.counted.packets_up.total() == sent)
    await until(lambda: relay.passed["up"] + relay.lost["up"] == line.counted.up.total())


def test_what_passes_is_counted_with_its_headers_in_both_directions() -> None:
    async def call() -> None:
        async with relayed() as (client, server, relay, line):
            sizes = [20, 100, 1200]
            for size in sizes:
                client.send(bytes([128, 111]) + bytes(size - 2), relay.address)
                data, seen_as = await server.receive()
                assert len(data) == size
                server.send(data[:10], seen_as)
                answer, source = await client.receive()
                assert answer == data[:10]
                assert source == relay.address
            up, down = sum(sizes) + 3 * IP_UDP_BYTES, 3 * (10 + IP_UDP_BYTES)
            assert line.counted.up == {"rtp": up}
            assert line.counted.down == {"rtp": down}
            assert relay.passed == {"up": up, "down": down}
            assert not relay.lost.total()
            relay.count_anew()
            assert not any((line.counted.up, relay.passed, relay.late))

    asyncio.run(call())


def test_what_is_lost_was_sent_all_the_same() -> None:
    async def call() -> None:
        async with relayed(LinkSettings(delay=0.001, loss=0.5)) as (client, _, relay, line):
            for _ in range(200):
                client.send(bytes(100), relay.address)
            await until_settled(relay, line, 200)
            assert line.counted.up == {"stun": 200 * 128}
            assert relay.passed["up"] + relay.lost["up"] == 200 * 128
            assert 50 * 128 < relay.lost["up"] < 150 * 128

    asyncio.run(call())


def test_each_client_socket_is_seen_as_one_of_its_own_and_moves() -> None:
    async def call() -> None:
        async with relayed() as (client, server, relay, _):
            other = Peer()
            ports = []
            for peer in (client, other, client):
                peer.send(b"one", relay.address)
                ports.append((await server.receive())[1])
            assert ports[0] == ports[2] != ports[1]
            relay.move()
            client.send(b"one", relay.address)
            moved = (await server.receive())[1]
            server.send(b"to nobody", ports[0])
            server.send(b"to the client", moved)
            assert moved not in ports
            assert (await client.receive())[0] == b"to the client"
            other.socket.close()

    asyncio.run(call())


def test_what_was_on_its_way_to_an_address_that_was_left_is_lost() -> None:
    async def call() -> None:
        async with relayed() as (client, server, relay, line):
            client.send(b"one", relay.address)
            seen_as = (await server.receive())[1]
            line.configure(LinkSettings(delay=0.2, kbps=1e6))
            server.send(b"late", seen_as)
            await until(lambda: len(line.down.waits) == 1)
            relay.move()
            await until(lambda: bool(relay.lost["down"]))
            assert not relay.passed["down"]
            assert relay.lost["down"]

    asyncio.run(call())


def test_clients_without_number_are_not_forwarded() -> None:
    async def call() -> None:
        async with relayed() as (_, server, relay, line):
            peers = [Peer() for _ in range(MAX_MAPPINGS + 1)]
            for peer in peers[:-1]:
                peer.send(b"one", relay.address)
                await server.receive()
            peers[-1].send(b"one", relay.address)
            await until_settled(relay, line, len(peers))
            assert relay.lost["up"] == 3 + IP_UDP_BYTES
            for peer in peers:
                peer.socket.close()

    asyncio.run(call())
