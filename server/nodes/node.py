"""A node among others: renews its lease, has rooms placed, and hands its rooms over when it drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from server.errors import MovedError, NodesUnavailableError
from server.metrics import Metrics
from server.nodes.lease import Lease, LeaseState, Renewal, Renewed, node_mark
from server.nodes.single import lease_of
from server.signalling.conference import Conference

MOVE_SECONDS = 0.5
"""Between two rooms that move, at most: those who take them in answer one after the other."""

logger = logging.getLogger(__name__)


class Nodes(Protocol):
    """Where rooms live. `open` and `find` return where the room is here, and raise MovedError where it is elsewhere."""

    @property
    def mark(self) -> str:
        """Stands for this node in names of what it keeps beyond a room's life; empty where it knows of no others."""

    async def open(self, room: str) -> None:
        """For who joins: a room that is nowhere is placed on the least loaded node.

        Raises MovedError, NodesUnavailableError, CapacityError when no node takes rooms.
        """

    async def find(self, room: str) -> None:
        """For who asks about a room: one that is nowhere stays so. Raises MovedError, NodesUnavailableError."""

    async def find_kept(self, mark: str) -> None:
        """For who asks for what the node of that mark keeps. Returns where that is this node, or none that lives.

        Raises MovedError, NodesUnavailableError.
        """

    async def others(self) -> list[Lease]:
        """All nodes but this one, by name. Raises NodesUnavailableError."""

    async def leases(self) -> list[Lease]:
        """All nodes, by name. Raises NodesUnavailableError."""

    async def drain(self, seconds: float) -> None:
        """Let other nodes take all rooms within about so many seconds; what none takes stays."""

    async def start(self) -> None:
        """Begin to tell others of this node."""

    async def close(self) -> None:
        """Be no node any more; idempotent."""


class Registry(Protocol):
    """What all nodes share. Every method raises NodesUnavailableError when it does not answer."""

    async def renew(self, lease: Lease, renewal: Renewal) -> Renewed:
        """Hold the lease for another while."""

    async def place(self, room: str) -> list[str]:
        """Place a room, and it is here: identities that were removed from it. Raises MovedError, CapacityError."""

    async def locate(self, room: str) -> None:
        """Raises MovedError where the room is another node's."""

    async def hand_over(self, room: str, barred: Sequence[str]) -> str | None:
        """Give a room to the least loaded of the other nodes: its address, None where there is none.

        barred: identities that were removed from it
        """

    async def leases(self) -> list[Lease]:
        """Of all nodes that live."""

    async def end(self) -> None:
        """Let the lease end."""

    async def close(self) -> None:
        """Close the connection; idempotent."""


class Node:
    """Implements `Nodes` with a registry. `clock` is monotonic."""

    def __init__(
        self,
        registry: Registry,
        conference: Conference,
        name: str,
        address: str,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._conference = conference
        self._name = name
        self._address = address
        self._clock = clock
        self._state = LeaseState()
        metrics.watch_nodes(lambda: not self._state.away)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew the lease."""
        self._conference.administration.on_barred = self._state.bar
        self._task = asyncio.create_task(self._renew_forever(), name="node lease")

    async def close(self) -> None:
        """Let the lease end, so that nobody is sent here any more; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            with suppress(NodesUnavailableError):
                await self._registry.end()
        await self._registry.close()

    async def open(self, room: str) -> None:
        """As `Nodes.open`. A room that is here is here, whatever Redis says or whether it is there."""
        if room in self._conference.rooms.names():
            if self._conference.draining:
                await self._move(room)
            return
        self._check_reachable()
        barred = await self._registry.place(room)
        self._state.opened(room)
        self._conference.administration.bar(room, barred)
        if self._conference.draining:
            await self._move(room)  # given to this node when it had not yet said so

    async def find(self, room: str) -> None:
        """As `Nodes.find`."""
        if room not in self._conference.rooms.names():
            self._check_reachable()
            await self._registry.locate(room)

    @property
    def mark(self) -> str:
        """As `Nodes.mark`."""
        return node_mark(self._address)

    async def find_kept(self, mark: str) -> None:
        """As `Nodes.find_kept`. What is here is here, whatever Redis says or whether it is there."""
        if mark in ("", self.mark):
            return
        for lease in await self.others():
            if lease.mark == mark:
                raise MovedError(lease.address)

    async def others(self) -> list[Lease]:
        """As `Nodes.others`."""
        return [lease for lease in await self.leases() if lease.address != self._address]

    async def leases(self) -> list[Lease]:
        """As `Nodes.leases`."""
        self._check_reachable()
        return sorted(await self._registry.leases(), key=lambda lease: lease.name)

    async def drain(self, seconds: float) -> None:
        """As `Nodes.drain`; the conference takes no more rooms by now."""
        self._wake.set()
        rooms = self._conference.rooms.names()
        gap = min(MOVE_SECONDS, seconds / (len(rooms) + 1))
        for room in rooms:
            with suppress(MovedError):
                await self._move(room)
            await asyncio.sleep(gap)

    async def _move(self, room: str) -> None:
        """Let another node take a room; raises MovedError once it has, returns where none does."""
        try:
            address = await self._registry.hand_over(room, self._conference.administration.barred(room))
        except NodesUnavailableError:
            return
        if address is None:
            return
        self._leave(room, address)
        raise MovedError(address)

    def _leave(self, room: str, address: str) -> None:
        logger.info("a room moves", extra={"room": room, "to": address})
        self._state.moved(room)
        self._conference.move(room, address)

    def _check_reachable(self) -> None:
        """Fail at once while Redis is away: each attempt of its own would wait for a time limit."""
        if self._state.away:
            raise NodesUnavailableError("the nodes cannot be asked now; try again in a moment")

    async def _renew_forever(self) -> None:
        while True:
            try:
                await self._renew()
            except Exception:
                # The lease is what keeps this node's rooms its own: the next renewal comes in any case.
                logger.exception("renewing the lease failed")
                self._state.failed()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._state.pause())
            self._wake.clear()

    async def _renew(self) -> None:
        now = self._clock()
        lease = lease_of(self._conference, self._name, self._address)
        renewal = self._state.renewal(self._conference.rooms.names(), now)
        was_away = self._state.away
        try:
            answer = await self._registry.renew(lease, renewal)
        except NodesUnavailableError as error:
            self._state.failed()
            if not was_away:
                logger.warning("no answer from Redis; calls here go on", extra={"error": repr(error.__cause__)})
        else:
            self._state.renewed(renewal, answer, now)
            if was_away:
                logger.info("Redis answers again")
            for room, address in answer.elsewhere.items():
                # It was taken for dead meanwhile, and somebody opened the room there.
                self._leave(room, address)
