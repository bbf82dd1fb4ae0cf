"""What a node says of itself to the others, and what it has to say next. Pure; takes the time.

A lease lasts `LEASE_SECONDS` and is renewed three times as often. With each renewal a node claims the rooms that it
opened, and some of the others, lest their entries expire; it gives back those that stayed empty. When its lease was
gone, because Redis lost it or the node could not reach Redis for too long, it claims all rooms anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

LEASE_SECONDS = 6.0
"""Without a renewal for so long a node counts as dead, and its rooms open elsewhere."""

RENEW_SECONDS = 2.0

SETTLE_SECONDS = 4.0
"""Once every lease was gone, no room is opened for so long: nodes that still live say first which rooms they have."""

COMING_SECONDS = 10.0
"""A room counts on the node that it was placed on for so long before anybody has come."""

ROOM_SECONDS = 600.0
"""The entry of a room lasts so long after its last claim."""

CLAIM_SECONDS = 200.0
"""A room is claimed again after so long."""

MOST_CLAIMS = 500
"""Rooms claimed, given back, or barred from in one renewal; the rest follow at once."""


@dataclass(frozen=True)
class Lease:
    """One node as others see it."""

    name: str
    address: str  # http(s)://host[/path] without a trailing slash, as clients reach it
    views: int = 0  # faces that its render engine has promised
    capacity: float = 1.0  # faces that it can render
    rooms: int = 0
    open: bool = False  # takes new rooms
    draining: bool = False

    @property
    def load(self) -> float:
        """What is promised of what can be rendered; 1 is full."""
        return self.views / self.capacity

    @property
    def mark(self) -> str:
        """The node in names of what it keeps, see `node_mark`."""
        return node_mark(self.address)


def node_mark(address: str) -> str:
    """Eight hexadecimal digits that stand for the node at an address. A node that starts again there has the same."""
    return hashlib.sha256(address.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Renewal:
    """What goes with one renewal: rooms to claim and to give back, and (room, identity) of who was removed."""

    claims: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    barred: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Renewed:
    """What Redis answered: whether it still knew the lease, and the address of each claimed room that is elsewhere."""

    known: bool
    elsewhere: Mapping[str, str] = field(default_factory=dict)


class LeaseState:
    """When to renew and what to say. Times are monotonic seconds, never decreasing from call to call."""

    def __init__(self) -> None:
        self._claimed: dict[str, float | None] = {}  # room -> when it was claimed last; None: not yet
        self._empty: set[str] = set()  # claimed rooms that were empty at the renewal before
        self._barred: list[tuple[str, str]] = []
        self._more = False
        self.away = False
        """Whether Redis did not answer the last renewal."""

    def opened(self, room: str) -> None:
        """The room was placed here: it is not given back at the next renewal, though nobody may be in it yet."""
        self._claimed.setdefault(room, None)
        self._empty.discard(room)

    def moved(self, room: str) -> None:
        """The room is another node's now: no more claims of it, and nothing to give back."""
        self._claimed.pop(room, None)
        self._empty.discard(room)

    def bar(self, room: str, identity: str) -> None:
        """Somebody was removed from a room, and stays out when the room moves."""
        if len(self._barred) < MOST_CLAIMS:
            self._barred.append((room, identity))

    def renewal(self, rooms: Collection[str], now: float) -> Renewal:
        """What to say now, with `rooms` the rooms that have somebody in them."""
        for room in rooms:
            self.opened(room)
        empty = [room for room in self._claimed if room not in rooms]
        releases = [room for room in empty if room in self._empty][:MOST_CLAIMS]
        self._empty.update(empty)
        due = [
            room
            for room, when in self._claimed.items()
            if room not in self._empty and (when is None or now - when >= CLAIM_SECONDS)
        ]
        self._more = len(due) > MOST_CLAIMS
        return Renewal(tuple(due[:MOST_CLAIMS]), tuple(releases), tuple(self._barred[:MOST_CLAIMS]))

    def renewed(self, renewal: Renewal, answer: Renewed, now: float) -> None:
        """Redis took it; `now` is when it was asked."""
        self.away = False
        del self._barred[: len(renewal.barred)]
        for room in renewal.releases:
            self.moved(room)
        for room in renewal.claims:
            if room in self._claimed:
                self._claimed[room] = now
        for room in answer.elsewhere:
            self.moved(room)
        if not answer.known:
            # All entries may be gone with the lease, or be another's by now.
            self._claimed = {room: now if room in renewal.claims else None for room in self._claimed}
            self._more = any(when is None for when in self._claimed.values())

    def failed(self) -> None:
        """Redis did not answer. What was to be said is said with the next renewal."""
        self.away, self._more = True, False

    def pause(self) -> float:
        """Seconds to the next renewal."""
        return 0.0 if self._more else RENEW_SECONDS / 2 if self.away else RENEW_SECONDS
