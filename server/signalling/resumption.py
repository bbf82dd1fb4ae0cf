"""Participants that left and may come back with their resume token. Pure; takes the time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from server.signalling.participant import Participant


@dataclass(frozen=True)
class _Gone:
    participant: Participant
    until: float


class Resumption:
    """Keeps each gone participant for `resume_seconds`, and of all no more than `most`: the oldest goes first."""

    def __init__(self, resume_seconds: float, most: int) -> None:
        self._resume_seconds = resume_seconds
        self._most = most
        self._gone: dict[str, _Gone] = {}  # resume token -> gone participant, oldest first

    def __len__(self) -> int:
        """Gone participants that may still come back."""
        return len(self._gone)

    def keep(self, participant: Participant, now: float) -> None:
        """Remember a participant that leaves now."""
        self.tick(now)
        if self._resume_seconds > 0:
            while len(self._gone) >= self._most:
                del self._gone[next(iter(self._gone))]
            self._gone[participant.resume] = _Gone(participant, now + self._resume_seconds)

    def get(self, token: str) -> Participant | None:
        """The gone participant of that resume token; None when there is none or its time is over."""
        gone = self._gone.get(token)
        return None if gone is None else gone.participant

    def take(self, token: str, name: str, now: float) -> Participant:
        """The participant as it comes back under `name`: it publishes nothing yet. Its token must be known."""
        return replace(
            self._gone.pop(token).participant, name=name, kind="none", media="waiting", connected=True, heard=now
        )

    def tick(self, now: float) -> None:
        """Forget those whose time is over."""
        for token in [token for token, gone in self._gone.items() if gone.until <= now]:
            del self._gone[token]
