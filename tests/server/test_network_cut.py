"""The sender's network is cut, WebSocket, HTTP and media datagrams alike, and comes back; the receiver is the real one.

The line stops carrying anything without closing a socket, as a network does that is gone. How long it is cut is real
time, because the liveness of both sides is; what follows is polled for, and nothing is asked about how fast it comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import aioice.ice
import numpy as np
import pytest

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from server.receiver.source_cache import SourceCache
from server.sender.connection.access import Access
from server.sender.daemon import Daemon, Destination
from server.sender.media.samples import MotionSample, SourceImage, StageTimes
from server.settings import load_settings
from tests.server.sender.connection.test_session import STATISTICS, WEIGHTS, FakeFeed
from tests.server.signalling import Call, Peer
from tests.server.tcp_proxy import TcpProxy
from tests.server.test_live_call import jpeg, live_call

PATIENCE = 60.0
"""Seconds: a bound against hanging, not a measure."""

LINE: ContextVar[Line | None] = ContextVar("LINE", default=None)
"""The line on which sockets opened by this task and its children lie; None: one that is never cut."""


def milliseconds() -> int:
    """The sender's clock, as its messages have it."""
    return int(1000 * time.monotonic())


class Line:
    """The network between one client and the server; TCP through a proxy, datagrams straight. It can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._tcp = TcpProxy(host, port)
        self.datagrams = 0  # carried
        self.lost = 0  # datagrams that came while it was cut

    async def open(self) -> str:
        """Address of the server over this line."""
        return await self._tcp.open()

    def cut(self) -> None:
        """From now on nothing comes through; what TCP has to say waits."""
        self._tcp.hold()

    def mend(self) -> None:
        """Everything comes through again."""
        self._tcp.mend()

    def carries(self) -> bool:
        """Whether one more datagram comes through."""
        whole = self._tcp.whole
        self.datagrams += whole
        self.lost += not whole
        return whole

    async def close(self) -> None:
        """End every connection."""
        await self._tcp.close()


class LinedProtocol(aioice.ice.StunProtocol):
    """An ICE socket: connectivity checks, DTLS, RTP and data channels go over the line it was opened on."""

    def __init__(self, receiver: aioice.ice.Connection) -> None:
        super().__init__(receiver)
        self._line = LINE.get()

    def _carries(self) -> bool:
        return self._line is None or self._line.carries()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if self._carries():
            super().datagram_received(data, addr)

    async def send_data(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._carries():
            await super().send_data(data, addr)

    def send_stun(self, message: Any, addr: tuple[str, int]) -> None:
        if self._carries():
            super().send_stun(message, addr)


class Talker:
    """The daemon over its line, sending motion all the time."""

    def __init__(self, call: Call, line: Line, server: str) -> None:
        self.line = line
        self.source = SourceImage(0, jpeg())
        access = Access(server, "lobby", call.token(identity="daemon"), load_settings())
        self.daemon = Daemon(
            Destination(server, "lobby", "Ada"),
            access,
            FakeFeed,
            lambda: MotionEncoder(STATISTICS, Rate()),
            weights=WEIGHTS,
            clock=time.monotonic,
            chance=lambda: 0.0,
        )

    async def run(self) -> None:
        """Talk until cancelled."""
        LINE.set(self.line)
        running = asyncio.create_task(self.daemon.run(), name="daemon")
        self.daemon.on_source(self.source)
        try:
            while not running.done():
                vector = np.zeros(STATISTICS.size, np.float32)
                vector[0], vector[3] = 5.0 * np.sin(time.monotonic()), 1.0
                self.daemon.on_motion(MotionSample(vector, time.monotonic()), StageTimes(0.001, 0.001))
                await asyncio.sleep(0.04)
            await running
        finally:
            self.daemon.stop()
            async with asyncio.timeout(20):
                await asyncio.gather(running, return_exceptions=True)


class Witness:
    """Somebody in the room who looks at the roster all the time."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.roster: list[dict[str, Any]] = []
        self.numbers: dict[str, Any] = {}

    async def look(self) -> None:
        """Read every roster since the last look; nobody may be in it twice, or under another name."""
        self.numbers = (await self._peer.request("statistics"))["participants"]
        rosters = [message["participants"] for message in self._peer.news if message["type"] == "roster"]
        self._peer.news.clear()
        for roster in rosters:
            assert sorted(p["name"] for p in roster) in (["Bob"], ["Ada", "Bob"])
            self.roster = roster

    @property
    def ada(self) -> dict[str, Any] | None:
        """Ada's entry, when she is there."""
        return next((p for p in self.roster if p["name"] == "Ada"), None)

    def sees_ada_move(self, since: int) -> bool:
        """Whether Ada is live, and what is shown of her was captured after that time of her clock."""
        ada = self.ada
        if ada is None or (ada["kind"], ada["state"]) != ("motion", "live"):
            return False
        shown = self.numbers.get(ada["id"], {}).get("shown_capture_ms")
        return shown is not None and (shown - since) % 2**32 < 2**31

    async def until_ada_moves(self, since: int) -> dict[str, Any]:
        """Look until she does; her entry."""
        async with asyncio.timeout(PATIENCE):
            while not self.sees_ada_move(since):
                await self.look()
                await asyncio.sleep(0.05)
        assert self.ada is not None
        return self.ada

    async def look_for(self, seconds: float) -> None:
        """Go on looking."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.look()
            await asyncio.sleep(0.05)


def count_uploads(cache: SourceCache, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the source images that are uploaded from now on."""
    sizes: list[int] = []
    add = cache.add

    async def counted(image: bytes) -> str:
        sizes.append(len(image))
        return await add(image)

    monkeypatch.setattr(cache, "add", counted)
    return sizes


@asynccontextmanager
async def talking(call: Call) -> AsyncIterator[Talker]:
    """A talker whose line to the server can be cut."""
    assert call.client.port is not None
    line = Line("127.0.0.1", call.client.port)
    talker = Talker(call, line, await line.open())
    running = asyncio.create_task(talker.run(), name="talker")
    try:
        yield talker
    finally:
        line.mend()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await line.close()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [1.0, 5.0, 7.0])
async def test_after_a_cut_the_sender_goes_on_as_who_it_was(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "StunProtocol", LinedProtocol)
    async with live_call(gone_seconds=5.0) as (call, cache):
        uploads = count_uploads(cache, monkeypatch)
        peer, _ = await call.join("Bob")
        bob = Witness(peer)
        async with talking(call) as talker:
            before = await bob.until_ada_moves(milliseconds())
            assert len(uploads) == 1
            talker.line.cut()
            carried = talker.line.datagrams
            await bob.look_for(seconds)
            assert talker.line.lost > 0
            assert talker.line.datagrams == carried, "no datagram comes through a cut line"
            mended = milliseconds()
            talker.line.mend()
            if seconds >= 7.0:
                # Both sides have missed the other for longer than they wait: this is another connection.
                async with asyncio.timeout(PATIENCE):
                    while talker.daemon.reconnect.reconnects == 0:
                        await bob.look()
                        await asyncio.sleep(0.05)
            async with asyncio.timeout(PATIENCE):
                await talker.daemon.wait_live()
            after = await bob.until_ada_moves(mended)
            assert (after["id"], after["name"]) == (before["id"], "Ada")
            await bob.look_for(1.0)
            assert len(uploads) == 1, "the receiver still has her picture"
            assert sum(p["name"].startswith("Ada") for p in bob.roster) == 1
    assert cache.in_use == 0
