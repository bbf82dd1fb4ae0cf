"""Rooms: who is there, under which name, and in which state. A state machine without I/O that takes the time.

A participant joins, is heard from, loses its connection, comes back with what its resume token says, or is gone after
`gone_seconds` of silence. What changes comes out as plain events; whoever drives the machine acts on them.
Times are seconds of any monotonic clock, never decreasing from call to call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from server.errors import CapacityError, ConflictError, ForbiddenError, NotFoundError
from server.signalling.names import sameness
from server.signalling.participant import Client, Kind, MediaState, Participant
from server.signalling.resumption import Resume

Reason = Literal["left", "silent", "closed", "replaced", "moved", "removed", "room_closed"]

FOR_GOOD = ("removed", "room_closed")
"""Whoever goes for one of these reasons does not come back with its resume token."""


@dataclass(frozen=True)
class RoomLimits:
    """Bounds and times of `Rooms`."""

    rooms: int = 100
    participants: int = 16  # of one room
    gone_seconds: float = 5.0  # silence before a participant is gone
    resume_seconds: float = 120.0  # the longest life of a resume token
    remembered: int = 1000  # participants that went for good and hold a resume token, in all


@dataclass(frozen=True)
class RosterChanged:
    """The roster of a room is another; `version` grows by at least one each time."""

    room: str
    version: int


@dataclass(frozen=True)
class Gone:
    """A participant is no longer in the roster: close its media."""

    room: str
    participant: str
    reason: Reason


@dataclass(frozen=True)
class Resumed:
    """A participant came back: what is left of its old connection is to be closed."""

    room: str
    participant: str


Event = RosterChanged | Gone | Resumed


@dataclass
class _Room:
    version: int = 0
    participants: dict[str, Participant] = field(default_factory=dict)  # in the order of joining


class Rooms:
    """All rooms of one process. `new_secret` gives unguessable strings (tests pass a counter)."""

    def __init__(self, limits: RoomLimits, new_secret: Callable[[], str]) -> None:
        self._limits = limits
        self._new_secret = new_secret
        self._rooms: dict[str, _Room] = {}
        self._where: dict[str, str] = {}  # participant -> room
        self._ended: dict[str, float] = {}  # who went for good -> until when its resume token lasts; oldest first

    # State

    def get(self, participant: str) -> Participant:
        """The participant; raises NotFoundError when it is not in any room."""
        room = self._where.get(participant)
        if room is None:
            raise NotFoundError("no such participant")
        return self._rooms[room].participants[participant]

    def find(self, room: str, participant: str) -> Participant:
        """The participant of that room; raises NotFoundError."""
        found = self.get(participant)
        if found.room != room:
            raise NotFoundError("no such participant")
        return found

    def everybody(self, room: str) -> list[Participant]:
        """Participants in the order of joining, previews too; empty for a room that does not exist."""
        return list(self._rooms[room].participants.values()) if room in self._rooms else []

    def roster(self, room: str) -> list[Participant]:
        """Those whom others see, in the order of joining."""
        return [participant for participant in self.everybody(room) if not participant.preview]

    def version(self, room: str) -> int:
        """Version of the room's roster, 0 when there is none."""
        return self._rooms[room].version if room in self._rooms else 0

    def names(self) -> list[str]:
        """Rooms with at least one participant."""
        return list(self._rooms)

    def __len__(self) -> int:
        """Participants of all rooms."""
        return len(self._where)

    @property
    def remembered(self) -> int:
        """Participants that went for good and whose resume tokens are remembered for it."""
        return len(self._ended)

    # Changes

    def join(
        self,
        now: float,
        room: str,
        identity: str,
        name: str,
        client: Client,
        resume: Resume | None = None,
        *,
        preview: bool = False,
    ) -> tuple[Participant, list[Event]]:
        """Let a client in; with `resume` as the participant that it was, whether this server has seen it or another.

        A token that is of another room, or has expired and whose participant is gone, is not an error: the client joins
        anew. A token of another identity raises ForbiddenError; a full room or server raises CapacityError. A preview
        takes no name and no place of those who are in the roster; a room has as many places for previews.
        """
        self._forget_ended(now)
        if resume is not None and resume.room == room:
            present = self._where.get(resume.participant) == room
            if present or (resume.in_time and resume.participant not in self._ended):
                if resume.identity != identity:
                    raise ForbiddenError("the resume token is of another identity")
                return self._resume(now, resume, client, preview)
        self._check_capacity(room, preview)
        joined = Participant(
            id=self._new_secret()[:12],
            room=room,
            identity=identity,
            name=name if preview else self._free_name(room, name),
            client=client,
            preview=preview,
            heard=now,
        )
        return joined, self._add(joined)

    def share(self, now: float, owner: str) -> tuple[Participant, list[Event]]:
        """A participant's screen, a new one or the one that it has. Raises ConflictError for a preview."""
        found = self.get(owner)
        if found.preview or found.owner is not None:
            raise ConflictError("only a participant of the room shares a screen")
        screen = self.screen_of(owner)
        if screen is not None:
            return screen, []
        screen = Participant(
            id=self._new_secret()[:12],
            room=found.room,
            identity=found.identity,
            name=found.name,
            client="screen",
            owner=owner,
            heard=now,
        )
        return screen, self._add(screen)

    def screen_of(self, owner: str) -> Participant | None:
        """The screen that a participant shares."""
        return next((p for p in self.everybody(self.get(owner).room) if p.owner == owner), None)

    def heard(self, now: float, participant: str) -> None:
        """Any sign of life of a connected participant."""
        self.get(participant).heard = now

    def disconnected(self, now: float, participant: str) -> list[Event]:
        """The connection broke: the participant is `lost`, and gone unless it resumes in time."""
        found = self.get(participant)
        if not found.connected:
            return []
        found.connected, found.heard = False, now
        return [self._changed(found.room)]

    def leave(self, now: float, participant: str, reason: Reason = "left") -> list[Event]:
        """Take the participant out; its resume token stays good (a page that is reloaded) unless it goes for good."""
        found = self.get(participant)
        room = self._rooms[found.room]
        screen = self.screen_of(participant)
        events = [] if screen is None else self.leave(now, screen.id)
        del room.participants[participant], self._where[participant]
        if reason in FOR_GOOD:
            self._forget_ended(now)
            while len(self._ended) >= self._limits.remembered:
                del self._ended[next(iter(self._ended))]
            self._ended[participant] = now + self._limits.resume_seconds
        changed = self._changed(found.room)
        if not room.participants:
            del self._rooms[found.room]
        return [*events, Gone(found.room, participant, reason), changed]

    def update(
        self,
        participant: str,
        *,
        muted: bool | None = None,
        camera_off: bool | None = None,
        name: str | None = None,
        avatar: bool | None = None,
        kind: Kind | None = None,
        media: MediaState | None = None,
    ) -> list[Event]:
        """Change what is given; no event when nothing is another than before."""
        found = self.get(participant)
        before = found.entry()
        if name is not None and name != found.name:
            found.name = self._free_name(found.room, name, besides=found.id)
            if (screen := self.screen_of(participant)) is not None:
                screen.name = found.name
        for attribute, value in (
            ("muted", muted),
            ("camera_off", camera_off),
            ("avatar", avatar),
            ("kind", kind),
            ("media", media),
        ):
            if value is not None:
                setattr(found, attribute, value)
        return [self._changed(found.room)] if found.entry() != before else []

    def published(self, participant: str, kind: Kind) -> list[Event]:
        """A new publish connection of the participant was answered."""
        found = self.get(participant)
        found.publication += 1
        found.kind, found.media = kind, "waiting"
        return [self._changed(found.room)]

    def tick(self, now: float) -> list[Event]:
        """Let time pass: participants that were silent too long are gone."""
        self._forget_ended(now)
        silent = [
            participant.id
            for room in self._rooms.values()
            for participant in room.participants.values()
            # Without a signalling connection to be heard on its media decides.
            if (not participant.media_alone or not participant.connected)
            and now - participant.heard >= self._limits.gone_seconds
        ]
        return [event for participant in silent for event in self.leave(now, participant, "silent")]

    # Inside

    def _resume(self, now: float, resume: Resume, client: Client, preview: bool) -> tuple[Participant, list[Event]]:
        if resume.participant in self._where:
            present = self.get(resume.participant)
            present.connected, present.heard = True, now
            return present, [Resumed(present.room, present.id), self._changed(present.room)]
        self._check_capacity(resume.room, preview)
        back = Participant(
            id=resume.participant,
            room=resume.room,
            identity=resume.identity,
            name=resume.name if preview else self._free_name(resume.room, resume.name),
            client=client,
            preview=preview,
            publication=resume.publication,
            sources=dict(resume.sources),
            heard=now,
        )
        return back, self._add(back)

    def _forget_ended(self, now: float) -> None:
        for participant in [participant for participant, until in self._ended.items() if until <= now]:
            del self._ended[participant]

    def _add(self, participant: Participant) -> list[Event]:
        self._rooms.setdefault(participant.room, _Room()).participants[participant.id] = participant
        self._where[participant.id] = participant.room
        return [self._changed(participant.room)]

    def _changed(self, room: str) -> RosterChanged:
        self._rooms[room].version += 1
        return RosterChanged(room, self._rooms[room].version)

    def _check_capacity(self, room: str, preview: bool = False) -> None:
        if room not in self._rooms:
            if len(self._rooms) >= self._limits.rooms:
                raise CapacityError("the server has no room left")
        elif sum(p.preview == preview and p.owner is None for p in self.everybody(room)) >= self._limits.participants:
            raise CapacityError("the room is full")

    def _free_name(self, room: str, name: str, besides: str = "") -> str:
        """`name`, or with the first free number behind it: two people called Ada can be distinguished."""
        taken = {sameness(p.name) for p in self.roster(room) if p.id != besides and p.owner is None}
        number, candidate = 2, name
        while sameness(candidate) in taken:
            candidate = f"{name} ({number})"
            number += 1
        return candidate
