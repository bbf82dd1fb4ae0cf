"""When a side of the control channel pings: often at first and in silence, seldom while it hears the other. Pure."""

from __future__ import annotations

EAGER = 5
"""The first ticks of a channel have a ping each, so that the clocks are soon related."""

QUIET_AFTER = 1.5
"""Seconds of silence after which each tick has a ping again."""


class PingRhythm:
    """Of one channel; to be asked once each tick, a second."""

    def __init__(self, steady_every: int) -> None:
        """`steady_every`: ticks for one ping while the other side is heard."""
        self._steady_every = steady_every
        self._ticks = 0

    def due(self, silence: float) -> bool:
        """Whether this tick has a ping, and all that is told now and then; `silence` in seconds."""
        self._ticks += 1
        return self._ticks <= EAGER or self._ticks % self._steady_every == 0 or silence >= QUIET_AFTER
