"""What the loss of a connection means for the next one: whether to connect again, where, and why there is none. Pure.

One rule for all who stay in a room from one connection to the next: the daemon that sends, and `server/viewer/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from server.sender.connection.reconnect import Why
from server.sender.connection.signalling import ConnectionLostError, RefusedError, node_address

_FOR_GOOD = {"removed": "removed from the room", "room_closed": "the room was closed"}
"""Reasons of the server's for closing after which nobody comes back, and what they say."""

_WHY: dict[str, Why] = {"starting": "starting", "moved": "moved", "nodes_unavailable": "placing", "draining": "placing"}


class Tokens(Protocol):
    """Where tokens come from, as `server.sender.connection.access.Access`."""

    @property
    def renewable(self) -> bool:
        """Whether another token can be had when this one is refused."""

    def forget(self) -> None:
        """The next token will be a new one."""


@dataclass
class Membership:
    """Who we are in a room, from one connection to the next."""

    room: str
    name: str
    resume: str | None = None
    """Token with which the server takes us for the participant we were."""
    node: str | None = None
    """Address of the node that the server sent us to; None: the server's own."""
    participant: str | None = None
    """Our id there, once we have joined."""


def why_closed(message: dict[str, Any]) -> RefusedError | None:
    """What a message `closed` refuses us; None where we may come back as we were."""
    reason = str(message.get("reason"))
    if reason == "moved":
        return RefusedError("moved", "the room moved to another node", node_address(message.get("address")))
    return RefusedError(reason, _FOR_GOOD[reason]) if reason in _FOR_GOOD else None


def why_lost(error: RefusedError | ConnectionLostError, membership: Membership, tokens: Tokens, *, live: bool) -> Why:
    """Why there is no connection now, and `membership` as the next attempt needs it.

    live   a connection had stood; else an attempt failed
    Raises `error` where another attempt would be answered the same.
    """
    if isinstance(error, RefusedError):
        if not _cured(error, membership, tokens):
            raise error
        membership.node = error.address
        return _WHY.get(error.code, "failed")
    named, membership.node = membership.node, None
    # A node that was named and does not answer may be dead: the others take its rooms within seconds.
    return "placing" if named is not None and not live else "failed"


def _cured(error: RefusedError, membership: Membership, tokens: Tokens) -> bool:
    """Whether another attempt may succeed: with a new token, by joining anew, or later (a full room)."""
    if error.code == "unauthorized" and tokens.renewable and membership.participant is not None:
        tokens.forget()
        membership.resume = None
        return True
    if error.code == "forbidden" and error.request == "join" and membership.resume is not None:
        membership.resume = None
        return True
    return not error.permanent
