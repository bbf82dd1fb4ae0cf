"""One participant of one room: what it is, and the entry by which the roster shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["motion", "camera", "screen", "none"]
MediaState = Literal["live", "lost", "waiting"]
Client = Literal["page", "daemon", "whip", "screen"]
"""`screen`: not somebody, but what somebody shares beside itself."""


@dataclass(eq=False)
class Participant:
    """One participant of one room."""

    id: str
    room: str
    identity: str  # the `sub` of its token
    name: str  # unique in the room
    client: Client
    owner: str | None = None  # of a screen: the participant that shares it
    preview: bool = False  # in no roster: it publishes to watch itself, before it joins
    muted: bool = False
    camera_off: bool = False
    avatar: bool = False
    kind: Kind = "none"
    media: MediaState = "waiting"
    publication: int = 0  # grows with each publish; viewers subscribe anew when it changes
    sources: dict[int, str] = field(default_factory=dict)  # index -> SHA-256, to attach again after a reconnect
    connected: bool = True
    heard: float = 0.0  # time of the last sign of life

    @property
    def state(self) -> MediaState:
        """What viewers are shown: `lost` as soon as the connection is."""
        return self.media if self.connected else "lost"

    @property
    def rendered(self) -> bool:
        """Whether its pictures are rendered from motion: no camera took them."""
        return self.kind == "motion"

    @property
    def media_alone(self) -> bool:
        """Whether its media is all that it has: no signalling connection says that it is still there."""
        return self.client in ("whip", "screen")

    def entry(self) -> dict[str, object]:
        """The roster's entry (docs/protocol.md, "Participant")."""
        entry: dict[str, object] = {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "rendered": self.rendered,
            "muted": self.muted,
            "camera_off": self.camera_off,
            "avatar": self.avatar,
            "state": self.state,
            "publication": self.publication,
        }
        return entry if self.owner is None else entry | {"owner": self.owner}
