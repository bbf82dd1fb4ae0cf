"""One call of real processes: a server, a daemon and a viewer, with the relay's process between them."""

from __future__ import annotations

import base64
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from server.benchmark.counted_sockets import CountedBytes
from server.benchmark.network.figures import percentile
from server.benchmark.network.link import LinkSettings
from server.benchmark.network.measuring import CallRecord, LineRecord
from server.benchmark.processes import PeerProcess, free_port, peer_process, server_process
from server.benchmark.relay.lines import CLIENTS
from server.benchmark.relay.senders import Sender, send_command, talker

ROOM = "relay"


@dataclass(frozen=True)
class Server:
    """The real server."""

    address: str
    udp_port: int


@asynccontextmanager
async def one_port_server(**environment: str) -> AsyncIterator[Server]:
    """`python -m server serve` with all media on one UDP port; `environment`: settings beside the defaults."""
    udp_port = free_port(socket.SOCK_DGRAM)
    async with server_process(VISAVIS_UDP_PORT=str(udp_port), **environment) as address:
        yield Server(address, udp_port)


@dataclass
class RelayedCall:
    """A call that stands. A `CallOverLines`."""

    relay: PeerProcess
    sender: Sender
    viewer: PeerProcess
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By client what the relay said last of its line."""

    async def change(self, sender: LinkSettings, viewer: LinkSettings) -> None:
        await self._do("change", sender=asdict(sender), viewer=asdict(viewer))

    async def cut(self, whole: bool = False) -> None:
        await self._do("cut", whole=whole)

    async def move(self) -> None:
        await self._do("move")

    async def count_anew(self) -> None:
        await self._do("count anew")

    async def lines(self) -> tuple[LineRecord, LineRecord]:
        await self.relay.say(do="report")
        self.reports = await self.relay.hear("lines")
        sender, viewer = (_line_record(self.reports[name]) for name in CLIENTS)
        return sender, viewer

    async def record(self) -> CallRecord:
        await self.viewer.say(report=True)
        came = await self.viewer.hear("report")
        sound = [(at, base64.b64decode(data)) for at, data in came["sound"]]
        sent = await self.sender.sent(sound)
        return CallRecord(
            sent.spoken,
            sound,
            [(at, number) for at, number in came["pictures"]],
            dict(came["captured"]),
            came["keyframes_asked"],
            sent.reconnects,
            clocked=sent.clocked,
        )

    def machine(self) -> dict[str, Any]:
        """What the machine adds: by how much the relay was woken late, and the load, runnable processes in the mean."""
        late = sorted(seconds for report in self.reports.values() for seconds in report["late"])
        return {
            "relay_late_ms_p50": _ms(percentile(late, 0.5)),
            "relay_late_ms_p99": _ms(percentile(late, 0.99)),
            "load": round(os.getloadavg()[0], 1),
        }

    async def _do(self, what: str, **fields: Any) -> None:
        await self.relay.say(do=what, **fields)
        await self.relay.hear("done")


def _line_record(report: dict[str, Any]) -> LineRecord:
    counted = CountedBytes()
    for name in ("up", "down", "packets_up", "packets_down"):
        setattr(counted, name, Counter(report[name]))
    return LineRecord(counted, [(at, wait) for at, wait in report["waits_up"]], [*map(tuple, report["waits_down"])])


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


@asynccontextmanager
async def standing_call(
    server: Server, seed: int, voice: bool = True, command: bool = False
) -> AsyncIterator[RelayedCall]:
    """A call over good lines, with a picture at the viewer. Raises BenchmarkError where that does not come.

    command: whether `python -m server send` is the sender, and not the talker that follows the line with its voice.
    """
    async with peer_process("relay.lines", server.address, str(server.udp_port), str(seed)) as relay:
        addresses = await relay.hear("addresses")
        near = addresses["sender"]
        async with (
            send_command(near, ROOM, voice) if command else talker(near, ROOM, seed, voice) as sender,
            peer_process("relay.viewer", addresses["viewer"], ROOM) as viewer,
        ):
            await viewer.hear("watching")
            call = RelayedCall(relay, sender, viewer)
            try:
                yield call
            finally:  # nobody waits for a bad line at the end
                await call.change(LinkSettings(), LinkSettings())
                await call.cut(whole=True)
