"""A node that knows of no others: without VISAVIS_REDIS_URL every room is here."""

from __future__ import annotations

from server.nodes.lease import Lease
from server.signalling.conference import Conference


def lease_of(conference: Conference, name: str, address: str) -> Lease:
    """What a node says of itself now."""
    views, capacity = conference.load()
    return Lease(
        name=name,
        address=address,
        views=views,
        capacity=capacity,
        rooms=len(conference.rooms.names()),
        open=conference.takes_rooms,
        draining=conference.draining,
    )


class SingleNode:
    """Implements `Nodes` for one process."""

    def __init__(self, conference: Conference, name: str, address: str) -> None:
        self._conference = conference
        self._name = name
        self._address = address
        self.mark = ""

    async def open(self, room: str) -> None:
        """The room is here."""

    async def find(self, room: str) -> None:
        """The room is here, or nowhere."""

    async def find_kept(self, mark: str) -> None:
        """It is here, or nowhere."""

    async def others(self) -> list[Lease]:
        """None."""
        return []

    async def leases(self) -> list[Lease]:
        """One, its own."""
        return [lease_of(self._conference, self._name, self._address)]

    async def drain(self, seconds: float) -> None:
        """No other node takes the rooms."""

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""
