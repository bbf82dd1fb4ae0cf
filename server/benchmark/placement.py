"""Rooms on many nodes, simulated: the real scripts in a real, empty Redis, nodes and clients made up, time told.

    redis-server --port 6390 --save "" & python -m server.benchmark.placement --redis redis://localhost:6390

Nodes renew their leases. Rooms are opened at random nodes, as by a load balancer; who is sent on asks there. Half way
some nodes die, and their rooms are opened anew once the leases ended. Printed: how long placing takes, how even the
load is, and what Redis has to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean, median, quantiles
from typing import Any

from redis.asyncio import Redis

from server.errors import MovedError
from server.nodes.lease import RENEW_SECONDS, SETTLE_SECONDS, Lease, LeaseState
from server.nodes.registry import RedisRegistry, connect

CLOCK_KEY = "{visavis}:simulated clock"
CLOCK = f"local now = tonumber(redis.call('GET', '{CLOCK_KEY}'))"
STEP_SECONDS = 0.1
CAPACITIES = (300.0, 300.0, 300.0, 1200.0)
"""Faces that nodes can render: one in four is four times as fast."""
MOST_FACES = 6
"""Of one room; as many as chance says, one at least."""


@dataclass
class SimulatedNode:
    """One node: its lease, and the faces of each room that it holds."""

    name: str
    capacity: float
    registry: RedisRegistry
    renews_at: float
    state: LeaseState = field(default_factory=LeaseState)
    rooms: dict[str, int] = field(default_factory=dict)
    lives: bool = True

    @property
    def load(self) -> float:
        """Faces of those that it can render."""
        return sum(self.rooms.values()) / self.capacity


class Simulation:
    """`nodes` nodes take `rooms` rooms within `seconds` of simulated time; `dying` of them die half way."""

    def __init__(self, redis: Redis, nodes: int, rooms: int, seconds: float, dying: int, seed: int = 1) -> None:
        self._redis = redis
        self._chance = random.Random(seed)
        self._count = rooms
        self._seconds = seconds
        self._dying = dying
        self.now = 1000.0
        self.nodes = {
            f"http://node{i}": SimulatedNode(
                f"node{i}",
                CAPACITIES[i % len(CAPACITIES)],
                RedisRegistry(redis, f"http://node{i}", CLOCK),
                self.now + self._chance.uniform(0.0, RENEW_SECONDS),
            )
            for i in range(nodes)
        }
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []  # seconds of the real clock that a placement took
        self.waited: list[float] = []  # seconds until each room of a dead node was back

    async def run(self) -> dict[str, Any]:
        """The figures."""
        await self._pass(SETTLE_SECONDS + RENEW_SECONDS)
        before = await self._redis.info("commandstats")
        self.asked.clear()
        begin, opened = self.now, 0
        homeless: list[tuple[str, float]] = []
        while opened < self._count or homeless:
            await self._pass(STEP_SECONDS)
            due = min(self._count, round(self._count * (self.now - begin) / self._seconds))
            if opened < self._count / 2 <= due:
                homeless = [(room, self.now) for node in self._kill() for room in node.rooms]
            homeless = [(room, since) for room, since in homeless if not await self._open_again(room, since)]
            new = [f"room{number}" for number in range(opened, due)]
            homeless += [(room, self.now) for room in new if not await self._open(room)]
            opened = due
        await self._pass(2 * RENEW_SECONDS)
        return self._figures(before, await self._redis.info("commandstats"), self.now - begin)

    def _kill(self) -> list[SimulatedNode]:
        dead = self._chance.sample(list(self.nodes.values()), self._dying)
        for node in dead:
            node.lives = False
        return dead

    async def _pass(self, seconds: float) -> None:
        """Let time pass; nodes renew their leases when they are due."""
        until = self.now + seconds
        while self.now < until:
            self.now += STEP_SECONDS
            await self._redis.set(CLOCK_KEY, round(1000 * self.now))
            for node in self.nodes.values():
                if node.lives and node.renews_at <= self.now:
                    await self._renew(node)

    async def _renew(self, node: SimulatedNode) -> None:
        views = sum(node.rooms.values())
        lease = Lease(node.name, node.name, views, node.capacity, len(node.rooms), open=node.load < 1.0)
        renewal = node.state.renewal(node.rooms, self.now)
        self.asked["renew"] += 1
        answer = await node.registry.renew(lease, renewal)
        assert not answer.elsewhere, "a room was on two nodes"
        node.state.renewed(renewal, answer, self.now)
        node.renews_at = self.now + node.state.pause()

    async def _open(self, room: str) -> bool:
        """Somebody asks any node, and goes where it is sent; whether that one lives."""
        node = self._chance.choice([node for node in self.nodes.values() if node.lives])
        begin = time.perf_counter()
        try:
            self.asked["place"] += 1
            await node.registry.place(room)
        except MovedError as moved:
            self.times.append(time.perf_counter() - begin)
            node = self.nodes[moved.address]
            if not node.lives:
                return False
            self.asked["place"] += 1
            await node.registry.place(room)
        else:
            self.times.append(time.perf_counter() - begin)
        node.state.opened(room)
        node.rooms[room] = self._chance.randint(1, MOST_FACES)
        return True

    async def _open_again(self, room: str, since: float) -> bool:
        """One attempt a second of a client whose node died; whether it succeeded."""
        if (self.now - since) % 1.0 >= STEP_SECONDS:
            return False
        back = await self._open(room)
        if back:
            self.waited.append(self.now - since)
        return back

    def _figures(self, before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[str, Any]:
        living = [node for node in self.nodes.values() if node.lives]
        loads = [node.load for node in living]
        script = {name: after["cmdstat_evalsha"][name] - before["cmdstat_evalsha"][name] for name in ("calls", "usec")}
        return {
            "nodes": len(self.nodes),
            "died": self._dying,
            "rooms": sum(len(node.rooms) for node in living),
            "seconds": round(seconds, 1),
            "place_ms": {
                "median": round(1000 * median(self.times), 3),
                "p99": round(1000 * quantiles(self.times, n=100)[-1], 3),
            },
            "load": {"mean": round(mean(loads), 3), "least": round(min(loads), 3), "greatest": round(max(loads), 3)},
            "back_after_s": round(max(self.waited, default=0.0), 1),
            "scripts_a_second": round(script["calls"] / seconds),
            "of_these_renewals": round(self.asked["renew"] / seconds),
            "script_us": round(script["usec"] / script["calls"], 1),
            "redis_busy_percent": round(script["usec"] / seconds / 10_000, 2),
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", required=True, help="address of an empty Redis")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rooms", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=200.0, help="simulated time in which they open")
    parser.add_argument("--dying", type=int, default=10, help="nodes that die half way")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_run(options)), indent=1))


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    redis = connect(options.redis)
    try:
        return await Simulation(redis, options.nodes, options.rooms, options.seconds, options.dying).run()
    finally:
        await redis.aclose()


if __name__ == "__main__":
    main()
