"""What an administrator does: remove somebody, mute, close a room. One event loop; nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from server.errors import ForbiddenError, NotFoundError
from server.signalling import protocol
from server.signalling.participant import Participant
from server.signalling.rooms import Event, Rooms
from server.signalling.seats import Seats

MAX_BARRED = 1000
"""Removed identities that are remembered, in all rooms; the oldest are forgotten."""


class Administration:
    """Acts on the rooms of one conference; `act(events)` carries out what changed."""

    def __init__(
        self, rooms: Rooms, seats: Seats, act: Callable[[list[Event]], None], clock: Callable[[], float]
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._act = act
        self._clock = clock
        self._barred: dict[tuple[str, str], None] = {}  # room, identity; in the order of removal
        self.on_barred: Callable[[str, str], None] | None = None  # told room and identity of who was removed

    def check(self, room: str, identity: str) -> None:
        """Raise ForbiddenError for somebody who was removed from this room."""
        if (room, identity) in self._barred:
            raise ForbiddenError("you were removed from this room")

    def bar(self, room: str, identities: Iterable[str]) -> None:
        """Keep these out of the room: they were removed from it where it was before."""
        for identity in identities:
            self._barred[room, identity] = None
            if len(self._barred) > MAX_BARRED:
                del self._barred[next(iter(self._barred))]

    def barred(self, room: str) -> list[str]:
        """Identities that were removed from the room."""
        return [identity for where, identity in self._barred if where == room]

    def emptied(self, room: str) -> None:
        """The room is no more, and who was removed from it may come to the next one of its name."""
        for key in [key for key in self._barred if key[0] == room]:
            del self._barred[key]

    def roster(self, room: str) -> list[Participant]:
        """Who is in the room. Raises NotFoundError when nobody is."""
        roster = self._rooms.roster(room)
        if not roster:
            raise NotFoundError("no such room")
        return roster

    def remove(self, room: str, participant: str) -> None:
        """Make somebody leave; its identity stays out as long as the room lasts. A screen just ends.

        Raises NotFoundError.
        """
        found = self._rooms.find(room, participant)
        if found.owner is not None:
            self._act(self._rooms.leave(self._clock(), participant))
            return
        self.bar(room, [found.identity])
        if self.on_barred is not None:
            self.on_barred(room, found.identity)
        self._act(self._rooms.leave(self._clock(), participant, "removed"))

    def mute(self, room: str, participant: str, muted: bool) -> None:
        """Let nobody hear the participant until it unmutes itself, or let it be heard again. Raises NotFoundError."""
        self._rooms.find(room, participant)
        self._act(self._rooms.update(participant, muted=muted))
        self._seats.send_to(participant, protocol.mute(muted))

    def close(self, room: str) -> None:
        """Make everybody leave. Raises NotFoundError when nobody is there."""
        events: list[Event] = []
        self.roster(room)
        for participant in self._rooms.everybody(room):
            if participant.owner is None:
                events += self._rooms.leave(self._clock(), participant.id, "room_closed")
        self._act(events)
