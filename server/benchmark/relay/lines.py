"""The relay's process, both lines in it: `python -m server.benchmark.relay.lines SERVER UDP_PORT SEED`.

Says {"addresses"} once it is there, one for each client. Of its lines each names what to do in `do` and is answered by
{"done"}; `report` by {"lines"}, too. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from typing import Any

from aioice.ice import get_host_addresses

from server.benchmark.network.datagrams import Address, Line
from server.benchmark.network.link import LinkSettings
from server.benchmark.network.tcp_line import TcpLine
from server.benchmark.peer_lines import lines, tell
from server.benchmark.relay.signalling_proxy import SignallingProxy
from server.benchmark.relay.udp_relay import UdpRelay

CLIENTS = ("sender", "viewer")


class ClientLine:
    """All that goes between one client and the server: its media, and its signalling through the same line."""

    def __init__(self, name: str, server: str, udp_server: Address, chance: random.Random) -> None:
        # Where a client looks for ways: its sockets are bound to the addresses that ICE has found.
        host = next(iter(get_host_addresses(use_ipv4=True, use_ipv6=False)), "127.0.0.1")
        self.line = Line(name, LinkSettings(), chance)
        self.udp = UdpRelay(self.line, host, udp_server)
        self._proxy = SignallingProxy(server, self.udp.address)
        self._tcp: TcpLine | None = None

    async def open(self) -> str:
        """The server's address for this client."""
        self._tcp = TcpLine(self.line, await self._proxy.open())
        return await self._tcp.open()

    async def close(self) -> None:
        """End everything."""
        self.udp.close()
        if self._tcp is not None:
            await self._tcp.close()
        await self._proxy.close()

    def count_anew(self) -> None:
        """Forget what was counted."""
        self.udp.count_anew()
        self.line.up.waits.clear()
        self.line.down.waits.clear()

    def report(self) -> dict[str, Any]:
        """What it carried, JSON-ready."""
        counted = self.line.counted
        return {
            "up": counted.up,
            "down": counted.down,
            "packets_up": counted.packets_up,
            "packets_down": counted.packets_down,
            "waits_up": self.line.up.waits,
            "waits_down": self.line.down.waits,
            "passed": self.udp.passed,
            "lost": self.udp.lost,
            "late": self.udp.late,
        }


async def relay(server: str, udp_port: int, seed: int) -> None:
    """Both lines, until standard input ends."""
    udp_server = ("127.0.0.1", udp_port)
    ways = {name: ClientLine(name, server, udp_server, random.Random(seed + n)) for n, name in enumerate(CLIENTS)}
    reader = await lines()
    try:
        tell(addresses={name: await way.open() for name, way in ways.items()})
        while text := await reader.readline():
            _do(json.loads(text), ways)
    finally:
        for way in ways.values():
            await way.close()


def _do(order: dict[str, Any], ways: dict[str, ClientLine]) -> None:
    sender = ways["sender"]
    match order["do"]:
        case "change":
            for name, way in ways.items():
                way.line.configure(LinkSettings(**order[name]))
        case "cut":
            sender.line.cut(order["whole"])
        case "move":
            sender.udp.move()
        case "count anew":
            for way in ways.values():
                way.count_anew()
        case "report":
            tell(lines={name: way.report() for name, way in ways.items()})
            return
    tell(done=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
