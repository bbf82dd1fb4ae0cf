"""What others than the participants learn of rooms: opened, joined, published, left, finished, recorded. Pure.

Told a room's roster whenever it changes, `RoomEvents` says what happened since the time before. A screen neither joins
nor leaves: it is a track of whoever shares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.signalling.participant import Participant

EventName = Literal[
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "track_published",
    "track_unpublished",
    "recording_started",
    "recording_ended",
]
"""LiveKit's names of the same events, but those of recordings."""


@dataclass(frozen=True)
class Person:
    """A participant at the time of an event."""

    id: str
    identity: str
    name: str
    kind: str
    publication: int
    owner: str | None  # of a screen

    @classmethod
    def of(cls, participant: Participant) -> Person:
        """As it is now."""
        found = participant
        return cls(found.id, found.identity, found.name, found.kind, found.publication, found.owner)

    @property
    def track(self) -> Track:
        """What it publishes."""
        return Track(f"{self.id}-{self.publication}", self.kind)


@dataclass(frozen=True)
class Track:
    """What somebody publishes or shares: motion, a camera or a screen."""

    id: str
    kind: str


@dataclass(frozen=True)
class RecordingSpan:
    """A recording and its time, Unix seconds."""

    id: str
    started: float
    ended: float | None = None
    reason: str | None = None  # why it ended


@dataclass(frozen=True)
class RoomEvent:
    """Something happened in a room; without `person` to the room itself."""

    name: EventName
    room: str
    person: Person | None = None
    track: Track | None = None
    recording: RecordingSpan | None = None


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
        gone = [before[who] for who in before if who not in now]
        events += [
            RoomEvent("track_unpublished", room, before.get(screen.owner), screen.track)
            for screen in gone
            if screen.owner is not None and screen.publication
        ]
        events += [RoomEvent("participant_left", room, person) for person in gone if person.owner is None]
        for who, person in now.items():
            if who not in before and person.owner is None:
                events.append(RoomEvent("participant_joined", room, person))
            # Who is resumed comes with the publications that it had.
            known = before[who].publication if who in before else person.publication if person.owner is None else 0
            if person.publication > known:
                sharer = person if person.owner is None else now.get(person.owner)
                events.append(RoomEvent("track_published", room, sharer, person.track))
        if before and not now:
            events.append(RoomEvent("room_finished", room))
        if now:
            self._seen[room] = now
        else:
            self._seen.pop(room, None)
        return events
