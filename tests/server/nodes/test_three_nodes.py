"""Three processes, a Redis and a load balancer: one node is killed, one drained, and Redis goes away and comes back.

What it measured stands in docs/performance.md; it asserts what must hold, with time enough for a busy machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from server.auth import Authority
from server.nodes.lease import LEASE_SECONDS
from server.sender.connection.access import Access
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import FeedListener
from server.settings import load_settings
from tests.server.nodes import KEY, RedisServer, redis_server
from tests.server.sender.connection.test_session import STATISTICS, WEIGHTS, FakeFeed, picture
from tests.server.tcp_proxy import LoadBalancer

ROOMS = [f"room{number}" for number in range(12)]
NODES = ("a", "b", "c")
REDIS_AWAY = LEASE_SECONDS + 2.0
"""Seconds: longer than any lease lasts."""
LIMIT = 280.0
"""Seconds for everything, on a machine that is busy with other things, too."""
AUTHORITY = Authority(KEY["api_key"], KEY["api_secret"], time.time)


class NodeProcess:
    """One node; it can be started again under the same name."""

    def __init__(self, name: str, redis: RedisServer) -> None:
        self.name = name
        self.port = unused_port()
        self._redis = redis
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.server.nodes.node_process", "--port", str(self.port)),
            env=os.environ
            | {
                "OMP_NUM_THREADS": "1",
                "VISAVIS_API_KEY": KEY["api_key"],
                "VISAVIS_API_SECRET": KEY["api_secret"],
                "VISAVIS_PRIVATE_CANDIDATES": "true",
                "VISAVIS_REDIS_URL": self._redis.url,
                "VISAVIS_NODE_NAME": self.name,
                "VISAVIS_NODE_ADDRESS": self.address,
                "VISAVIS_DRAIN_SECONDS": "60",
                "VISAVIS_LOG_LEVEL": "warning",
            },
        )

    async def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Sender:
    """The real daemon in a room of its own, with one source image."""

    def __init__(self, entry: str, room: str) -> None:
        self.room = room
        self.feed: FakeFeed | None = None
        self.gap = 0.0  # seconds, the longest without a connection since it was set
        token = AUTHORITY.mint(room, f"sender of {room}")
        self.daemon = Daemon(
            Destination(entry, room, "Ada"),
            Access(entry, room, token, load_settings()),
            self._make_feed,
            lambda: MotionEncoder(STATISTICS, Rate()),
            weights=WEIGHTS,
            clock=time.monotonic,
        )
        self._running = asyncio.create_task(self.daemon.run(), name=f"daemon {room}")
        self._watching = asyncio.create_task(self._watch(), name=f"watch {room}")

    def _make_feed(self, listener: FeedListener) -> FakeFeed:
        self.feed = FakeFeed(listener)
        return self.feed

    async def _watch(self) -> None:
        since = time.monotonic()
        while True:
            now = time.monotonic()
            if self.live:
                since = now
            self.gap = max(self.gap, now - since)
            await asyncio.sleep(0.02)

    @property
    def live(self) -> bool:
        return self.daemon.reconnect.state == "live"

    @property
    def taken(self) -> int:
        return 0 if self.feed is None else len(self.feed.taken)

    async def close(self) -> None:
        self.daemon.stop()
        self._watching.cancel()
        await asyncio.gather(self._running, self._watching, return_exceptions=True)


class World:
    """Everything that runs, and what an administrator sees of it."""

    def __init__(
        self, http: aiohttp.ClientSession, redis: RedisServer, nodes: dict[str, NodeProcess], entry: str
    ) -> None:
        self._http = http
        self.redis = redis
        self.nodes = nodes
        self.entry = entry
        self.senders: dict[str, Sender] = {}

    async def ask(self, address: str, path: str) -> dict[str, Any] | None:
        """None where there is no good answer."""
        headers = {"Authorization": f"Bearer {AUTHORITY.mint('', admin=True)}"}
        try:
            async with self._http.get(address + path, headers=headers) as answer:
                return await answer.json() if answer.status == 200 else None
        except aiohttp.ClientError:
            return None

    async def open_nodes(self) -> set[str]:
        listed = await self.ask(self.entry, "/api/nodes")
        return {node["name"] for node in listed["nodes"] if node["open"]} if listed else set()

    async def participants(self) -> dict[str, list[tuple[str, str]]]:
        """Of each room (node, participant), from every node that answers."""
        found: dict[str, list[tuple[str, str]]] = {room: [] for room in ROOMS}
        for name, node in self.nodes.items():
            for room in (await self.ask(node.address, "/api/rooms") or {"rooms": []})["rooms"]:
                there = await self.ask(node.address, f"/api/rooms/{room['name']}")
                found.setdefault(room["name"], []).extend(
                    (name, p["id"]) for p in (there or {"participants": []})["participants"]
                )
        return found

    async def places(self) -> dict[str, str]:
        """Node of each room, once every room has its one participant and no other, and that is its sender."""
        everybody = await self.participants()
        own = {room: sender.daemon.identity.participant for room, sender in self.senders.items()}
        good = all([who for _, who in everybody[room]] == [own[room]] for room in ROOMS)
        return {room: everybody[room][0][0] for room in ROOMS} if good else {}

    async def may_open(self, room: str) -> str:
        """Code with which the entry answers who joins a room: "ok", "moved", or why not."""
        token = AUTHORITY.mint(room)
        async with self._http.ws_connect(f"{self.entry}/ws", params={"token": token}) as socket:
            await socket.send_json({"type": "join", "id": 1, "room": room, "name": "Bob"})
            answer: dict[str, Any] = await socket.receive_json(timeout=10)
        return str(answer.get("code", answer["type"]))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with redis_server() as redis:
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            nodes = {name: NodeProcess(name, redis) for name in NODES}
            for node in nodes.values():
                stack.push_async_callback(node.close)
                await node.start()
            entry = LoadBalancer([("127.0.0.1", node.port) for node in nodes.values()])
            stack.push_async_callback(entry.close)
            made = World(http, redis, nodes, await entry.open())
            yield made
            await asyncio.gather(*(sender.close() for sender in made.senders.values()))


async def becomes(true: Callable[[], Awaitable[bool]], seconds: float = 120.0) -> float:
    """Seconds until it is true."""
    begin = time.monotonic()
    while not await true():
        assert time.monotonic() - begin < seconds, "it never came true"
        await asyncio.sleep(0.1)
    return time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_rooms_outlive_a_node_that_dies_one_that_drains_and_redis() -> None:
    async with world() as running:
        senders = running.senders

        async def settled() -> bool:
            return await running.open_nodes() == set(NODES) and await running.may_open("other") in ("ok", "moved")

        await becomes(settled)

        # Twelve rooms, spread.
        for room in ROOMS:
            senders[room] = Sender(running.entry, room)
        await asyncio.gather(*(asyncio.wait_for(sender.daemon.wait_live(), 60) for sender in senders.values()))
        for sender in senders.values():
            sender.daemon.on_source(picture(0))
        await becomes(lambda: _true(all(sender.taken == 1 for sender in senders.values())))
        who = {room: sender.daemon.identity.participant for room, sender in senders.items()}
        places = await running.places()
        rooms = {name: [room for room in ROOMS if places[room] == name] for name in NODES}
        print({name: len(held) for name, held in rooms.items()}, "rooms")
        assert all(2 <= len(held) <= 6 for held in rooms.values()), rooms

        # One node dies.
        begin = time.monotonic()
        await running.nodes["a"].end(signal.SIGKILL)

        async def all_back() -> bool:
            places = await running.places()
            return bool(places) and "a" not in places.values() and all(s.live for s in senders.values())

        await becomes(all_back)
        print(f"rooms of the killed node back after {time.monotonic() - begin:.1f} s")
        assert {room: sender.daemon.identity.participant for room, sender in senders.items()} == who
        await becomes(lambda: _true(all(senders[room].taken == 2 for room in rooms["a"])))
        assert all(senders[room].daemon.reconnect.reconnects == 0 for room in (*rooms["b"], *rooms["c"]))

        # It comes again, and another one drains.
        await running.nodes["a"].start()

        async def open_again() -> bool:
            return await running.open_nodes() == set(NODES)

        await becomes(open_again)
        moving = [room for room, name in (await running.places()).items() if name == "b"]
        for sender in senders.values():
            sender.gap = 0.0
        assert await running.nodes["b"].end(signal.SIGTERM) == 0

        async def moved() -> bool:
            places = await running.places()
            return bool(places) and "b" not in places.values() and all(s.live for s in senders.values())

        await becomes(moved)
        gaps = [senders[room].gap for room in moving]
        print(f"{len(moving)} rooms of the drained node moved, without a connection for {max(gaps):.2f} s at most")
        assert {room: sender.daemon.identity.participant for room, sender in senders.items()} == who
        assert all(senders[room].gap < 1.0 for room in ROOMS if room not in moving), "nobody else noticed"

        # Redis goes away and comes back, with nothing in it.
        reconnects = {room: sender.daemon.reconnect.reconnects for room, sender in senders.items()}
        places = await running.places()
        running.redis.stop()
        seconds = float(os.environ.get("REDIS_AWAY_SECONDS", REDIS_AWAY))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert await running.may_open("new") == "nodes_unavailable"
            assert all(sender.live for sender in senders.values())
            await asyncio.sleep(0.5)
        running.redis.start()
        begin = time.monotonic()

        async def opens() -> bool:
            return await running.may_open("new") in ("ok", "moved")

        await becomes(opens)
        print(f"new rooms {time.monotonic() - begin:.1f} s after Redis was back from {seconds:.0f} s")
        assert await running.places() == places
        assert {room: sender.daemon.reconnect.reconnects for room, sender in senders.items()} == reconnects


async def _true(value: bool) -> bool:
    return value
