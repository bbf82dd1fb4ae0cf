"""ICE servers handed to clients, with time-limited TURN credentials.

The credentials follow draft-uberti-behave-turn-rest-00, which coturn implements as `use-auth-secret`:
username = "<expiry in Unix seconds>:<identity>", password = base64(HMAC-SHA1(secret, username)).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from server.settings import Settings


class IceServer(TypedDict, total=False):
    """An RTCIceServer as browsers take it."""

    urls: list[str]
    username: str
    credential: str


def turn_credentials(secret: str, identity: str, expiry: int) -> tuple[str, str]:
    """Username and password for `identity`, good until `expiry` (Unix seconds)."""
    # A colon or a control character in the identity would change what coturn parses.
    safe = "".join(c for c in identity if c.isalnum() or c in "-_.")
    username = f"{expiry}:{safe}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


@dataclass(frozen=True)
class IceServers:
    """Makes the list of ICE servers for one client; `clock` gives Unix seconds."""

    stun_urls: tuple[str, ...]
    turn_urls: tuple[str, ...]
    turn_secret: str
    turn_seconds: float
    clock: Callable[[], float]

    @classmethod
    def from_settings(cls, settings: Settings, clock: Callable[[], float]) -> IceServers:
        """The servers that the settings name."""
        return cls(
            settings.stun_urls,
            settings.turn_urls,
            settings.turn_secret.get_secret_value(),
            settings.turn_hours * 3600.0,
            clock,
        )

    def for_client(self, identity: str) -> list[IceServer]:
        """ICE servers for `identity`; empty when none are set, which is enough on one network."""
        servers: list[IceServer] = []
        if self.stun_urls:
            servers.append({"urls": list(self.stun_urls)})
        if self.turn_urls:
            username, credential = turn_credentials(self.turn_secret, identity, int(self.clock() + self.turn_seconds))
            servers.append({"urls": list(self.turn_urls), "username": username, "credential": credential})
        return servers
