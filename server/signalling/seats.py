"""Seats: the signalling connection of each participant in the roster, and how messages reach a room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from server.errors import NotFoundError
from server.signalling.participant import Participant


class Listener(Protocol):
    """The signalling connection of one participant."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; never blocks."""

    def close(self, reason: str, address: str | None = None) -> None:
        """Say why, and where to go on, and close; never blocks."""


class Seats:
    """One seat for each participant in a roster.

    A seat without signalling connection is empty: the connection broke, or the participant came by WHIP and has none.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, Listener | None] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def __contains__(self, participant: str) -> bool:
        return participant in self._listeners

    def check(self, participant: str) -> None:
        """Raise NotFoundError unless the participant has a seat."""
        if participant not in self._listeners:
            raise NotFoundError("no such participant")

    def take(self, participant: str, listener: Listener | None) -> None:
        """Give the participant's seat to `listener`; the one that it replaces is closed."""
        previous = self._listeners.get(participant)
        self._listeners[participant] = listener
        if previous is not None:
            previous.close("replaced")

    def is_of(self, participant: str, listener: Listener) -> bool:
        """Whether that signalling connection is still the participant's: another may have taken its place."""
        return self._listeners.get(participant) is listener

    def empty(self, participant: str) -> None:
        """The signalling connection broke; the seat stays."""
        self._listeners[participant] = None

    def remove(self, participant: str) -> None:
        """Take the seat away; its signalling connection is not closed by that."""
        del self._listeners[participant]

    def send(self, participants: Iterable[Participant], message: dict[str, Any]) -> None:
        """Send a message to all of these that can be reached."""
        for participant in participants:
            self.send_to(participant.id, message)

    def send_to(self, participant: str | None, message: dict[str, Any]) -> None:
        """Send a message to one participant, if it can be reached."""
        listener = self._listeners.get(participant or "")
        if listener is not None:
            listener.send(message)

    def close(self, participant: str, reason: str, address: str | None = None) -> None:
        """Close the participant's signalling connection, if there is one; the seat stays."""
        listener = self._listeners[participant]
        if listener is not None:
            listener.close(reason, address)

    def participants(self) -> list[str]:
        """All who have a seat."""
        return list(self._listeners)
