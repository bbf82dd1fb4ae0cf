"""When to connect again: exponential back-off with jitter, as a state machine that takes the time.

    idle -> connecting -> live -> waiting -> connecting -> ...    and from anywhere -> ended

A connection that had held is tried again at once; what fails after that waits 0.5 s, 1 s, 2 s ... at most 15 s, each
shortened by a random share so that a server's restart does not bring all senders back in the same instant. An attempt
is given up soon, since after an outage a new one gets through before TCP says an old one again; on a line where that is
too soon, each further one is given twice the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

State = Literal["idle", "connecting", "live", "waiting", "ended"]

Why = Literal["failed", "starting", "moved", "placing"]
"""Why there is no connection. starting: the server says that it takes calls in a moment. moved: the room is at another
node. placing: the node of the room does not answer, or which one it is cannot be told; that is settled in seconds."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 15.0
STARTING_DELAY = 0.2
"""A server that starts says so at once, and says how it goes on within seconds."""

JITTER = 0.3
"""Share of a delay that chance may take away."""

PLACING_DELAY = 1.0
"""Well below the time in which the others give up a node that died."""

MOST_PLACING = 15
"""Attempts in a row to reach a room that is being placed; after these it is a failure like others."""

MOST_MOVES = 4
"""Nodes in a row that send us on; after these something is wrong with them."""

FIRST_PATIENCE, LONGEST_PATIENCE = 3.0, 15.0
"""Seconds for each step of an attempt to connect, of the first one and of later ones at most."""

STABLE_AFTER = 10.0
"""Seconds live after which a loss counts as the first one: tried at once, then from the first delay again."""


class Reconnect:
    """Decides; does nothing itself. Times are seconds of one monotonic clock, `chance` returns [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0
        self._live_since = 0.0
        self._placing = 0
        self._moves = 0
        self.state: State = "idle"
        self.reconnects = 0
        """Connections after the first that went live."""
        self._was_live = False

    @property
    def patience(self) -> float:
        """Seconds for each step of the attempt that begins now."""
        return min(FIRST_PATIENCE * 2.0 ** min(max(self._failures - 1, 0), 16), LONGEST_PATIENCE)

    def start(self) -> None:
        """Begin the first attempt, or the one that was waited for."""
        if self.state not in ("idle", "waiting"):
            raise ValueError(f"cannot connect while {self.state}")
        self.state = "connecting"

    def connected(self, now: float) -> None:
        """The attempt succeeded."""
        if self.state != "connecting":
            raise ValueError(f"cannot be connected while {self.state}")
        self.state = "live"
        self._live_since = now
        self._placing = self._moves = 0
        self.reconnects += self._was_live
        self._was_live = True

    def lost(self, now: float, why: Why = "failed") -> float:
        """The attempt failed or the connection broke; returns the seconds until the next attempt."""
        if self.state not in ("connecting", "live"):
            raise ValueError(f"nothing to lose while {self.state}")
        delay = 0.0
        self._placing += why == "placing"
        self._moves += why == "moved"
        if why == "starting":
            delay = STARTING_DELAY
        elif why == "moved" and self._moves <= MOST_MOVES:
            pass
        elif why in ("placing", "moved") and self._placing <= MOST_PLACING:
            delay = PLACING_DELAY * (1.0 - JITTER * self._chance())
            self._moves = 0
        elif self.state == "live" and now - self._live_since >= STABLE_AFTER:
            self._failures = 0
        else:
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 16)) * (1.0 - JITTER * self._chance())
            self._failures += 1
        self.state = "waiting"
        return delay

    def end(self) -> None:
        """No more attempts: closed by the user, or an error that another attempt cannot cure."""
        self.state = "ended"
