"""What RTP feedback asks of an encoder: a keyframe (PLI, FIR), how many bits to spend (REMB). Pure, takes the time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


class KeyframeGate:
    """Coalesces keyframe requests: any number of them between two keyframes is answered by one.

    RFC 5104 section 4.3.1.2 and RFC 4585 ask the encoder for one intra picture, not for one per request.
    """

    def __init__(self, spacing: float = 0.5) -> None:
        self._spacing = spacing  # seconds between forced keyframes at least
        self._wanted = True  # a stream begins with a keyframe
        self._last = float("-inf")

    def request(self) -> None:
        """Ask for a keyframe; it comes as soon as the spacing allows."""
        self._wanted = True

    def take(self, now: float) -> bool:
        """Whether the frame encoded at `now` (seconds) must be a keyframe."""
        if not self._wanted or now - self._last < self._spacing:
            return False
        self.made(now)
        return True

    def made(self, now: float) -> None:
        """A keyframe was made, forced or not: it answers all requests so far."""
        self._wanted = False
        self._last = now


@dataclass(frozen=True)
class BitrateSettings:
    """Bounds of one encoder's rate, bits a second, and how eagerly it follows."""

    minimum: int = 100_000
    maximum: int = 900_000
    change: float = 0.2  # relative changes below this are not worth a new encoder and its keyframe
    down_every: float = 2.0  # seconds between reductions at least
    up_every: float = 10.0  # seconds between increases at least
    stale_after: float = 15.0  # an estimate that old says nothing any more


class BitrateSteering:
    """One rate for all viewers of an encoder: the smallest of their estimates (REMB), within bounds.

    Viewers whose network carries less than the minimum fall behind and drop to keyframes instead: one bad line must not
    spoil the picture of everybody else.
    """

    def __init__(self, settings: BitrateSettings | None = None) -> None:
        self._settings = settings or BitrateSettings()
        self._estimates: dict[Hashable, tuple[float, int]] = {}
        self._changed = float("-inf")
        self.target = self._settings.maximum

    def estimate(self, viewer: Hashable, bits_per_second: int, now: float) -> None:
        """A viewer's receiver estimated its maximum bit rate (draft-alvestrand-rmcat-remb-03)."""
        if bits_per_second >= self._settings.minimum // 2:
            self._estimates[viewer] = (now, bits_per_second)
        else:
            self._estimates.pop(viewer, None)

    def forget(self, viewer: Hashable) -> None:
        """The viewer left."""
        self._estimates.pop(viewer, None)

    def update(self, now: float) -> bool:
        """Recompute `target`; True when it changed."""
        settings = self._settings
        fresh = [rate for at, rate in self._estimates.values() if now - at <= settings.stale_after]
        wanted = min([settings.maximum, *fresh])
        wanted = max(wanted, settings.minimum)
        if abs(wanted - self.target) < settings.change * self.target:
            return False
        if now - self._changed < (settings.down_every if wanted < self.target else settings.up_every):
            return False
        self.target, self._changed = wanted, now
        return True
