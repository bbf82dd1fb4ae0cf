"""What others than the participants learn of rooms: opened, joined, published, left, finished. Pure.

Told a room's roster whenever it changes, it says what happened since the time before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.signalling.participant import Participant

EventName = Literal["room_started", "room_finished", "participant_joined", "participant_left", "track_published"]
"""LiveKit's names of the same events."""


@dataclass(frozen=True)
class Person:
    """A participant at the time of an event."""

    id: str
    identity: str
    name: str
    kind: str
    publication: int

    @classmethod
    def of(cls, participant: Participant) -> Person:
        """As it is now."""
        return cls(participant.id, participant.identity, participant.name, participant.kind, participant.publication)


@dataclass(frozen=True)
class RoomEvent:
    """Something happened in a room; without `person` to the room itself."""

    name: EventName
    room: str
    person: Person | None = None


class RoomEvents:
    """What was seen last of each room that has somebody in it."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Person]] = {}

    def update(self, room: str, roster: Sequence[Participant]) -> list[RoomEvent]:
        """What happened, in the order in which it can have happened."""
        before = self._seen.get(room, {})
        now = {participant.id: Person.of(participant) for participant in roster}
        events: list[RoomEvent] = []
        if now and not before:
            events.append(RoomEvent("room_started", room))
        events += [RoomEvent("participant_left", room, before[who]) for who in before if who not in now]
        for who, person in now.items():
            if who not in before:
                events.append(RoomEvent("participant_joined", room, person))
            # One that is resumed comes with the publications that it had.
            if person.publication > (before[who].publication if who in before else person.publication):
                events.append(RoomEvent("track_published", room, person))
        if before and not now:
            events.append(RoomEvent("room_finished", room))
        if now:
            self._seen[room] = now
        else:
            self._seen.pop(room, None)
        return events
