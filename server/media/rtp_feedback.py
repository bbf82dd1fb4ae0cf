"""RTP feedback: keyframes (PLI, FIR), bit rates (REMB), and packets sent again (NACK). Pure, takes the time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from server.media.rtp_numbers import newer


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


class KeyframeRequests:
    """Requests on their way upstream, coalesced: one until its keyframe comes, then again after `spacing`."""

    def __init__(self, spacing: float = 0.5) -> None:
        self._spacing = spacing  # seconds between requests at least
        self._wanted = False
        self._asked = float("-inf")

    def request(self) -> None:
        """Somebody needs a keyframe."""
        self._wanted = True

    def due(self, now: float) -> bool:
        """Whether to ask at `now` (seconds); the caller does so then."""
        if not self._wanted or now - self._asked < self._spacing:
            return False
        self._asked = now
        return True

    def came(self) -> None:
        """A keyframe came: it answers all requests so far."""
        self._wanted = False


class MissingPackets:
    """Which packets to ask for again (generic NACK, RFC 4585 section 6.2.1)."""

    def __init__(self, limit: int = 128, again: float = 0.1, attempts: int = 5) -> None:
        self._limit = limit  # packets that may be missing; a longer gap is none that packets would fill
        self._again = again  # seconds after which to ask again
        self._attempts = attempts
        self._newest: int | None = None
        self._missing: dict[int, tuple[float, int]] = {}  # sequence number: when it was asked for last, how often

    def add(self, sequence: int, now: float) -> list[int]:
        """A packet of this number arrived at `now` (seconds); the numbers to ask for now, in order."""
        if self._newest is None:
            self._newest = sequence
        elif newer(sequence, self._newest):
            gap = (sequence - self._newest) % 65536 - 1
            if gap > self._limit:
                self._missing.clear()
            else:
                for step in range(gap):
                    self._missing[(self._newest + 1 + step) % 65536] = (float("-inf"), 0)
            self._newest = sequence
            while len(self._missing) > self._limit:
                del self._missing[next(iter(self._missing))]
        elif (self._newest - sequence) % 65536 > 1000:
            self._newest = sequence  # the numbers began anew
            self._missing.clear()
        else:
            self._missing.pop(sequence, None)
        due = [number for number, (asked, _) in self._missing.items() if now - asked >= self._again]
        for number in due:
            count = self._missing[number][1] + 1
            if count >= self._attempts:
                del self._missing[number]
            else:
                self._missing[number] = (now, count)
        return due


class RetransmissionBudget:
    """Bytes that may be sent again: a share of what is sent, so that a line that drops is not filled by repeats."""

    def __init__(self, share: float = 0.25, burst: int = 20_000) -> None:
        self._share = share
        self._burst = float(burst)  # bytes that may be saved up
        self._left = float(burst)

    def sent(self, size: int) -> None:
        """A packet of `size` bytes went out for the first time."""
        self._left = min(self._left + self._share * size, self._burst)

    def take(self, size: int) -> bool:
        """Whether one of `size` bytes may go out again; it counts then."""
        if size > self._left:
            return False
        self._left -= size
        return True


@dataclass(frozen=True)
class Estimate:
    """What a viewer's receiver says that its line carries."""

    at: float  # seconds
    bits_per_second: int


@dataclass(frozen=True)
class BitrateSettings:
    """Bounds of one encoder's rate, bits a second, and how eagerly it follows."""

    minimum: int = 40_000
    maximum: int = 900_000
    start: int = 300_000  # before any estimate, or the maximum where that is less
    change: float = 0.2  # relative changes below this are not worth a new encoder and its keyframe
    down_every: float = 1.0  # seconds between reductions at least
    far: float = 0.6  # a rate below this share of the present one is a far reduction
    far_down_every: float = 0.25  # seconds before a far reduction at least
    up_every: float = 10.0  # seconds between increases at least
    first_up_every: float = 2.0  # the same until the maximum, or what a line carries, has been reached
    unheard: float = 8.0  # seconds from which on a receiver without estimates counts as one that makes none
    most_up: float = 2.0  # times the present rate that an increase may reach
    stale_after: float = 15.0  # an estimate that old says nothing any more


class BitrateSteering:
    """One rate for all viewers of an encoder: the smallest of their estimates (REMB), within bounds.

    Viewers whose network carries less than half of the minimum do not count beside others: they fall behind and drop to
    keyframes, so that one bad line does not spoil the picture of everybody else.
    """

    def __init__(
        self, settings: BitrateSettings | None = None, estimates: Mapping[Hashable, Estimate] | None = None
    ) -> None:
        """`estimates`: what is known of the stream's viewers; it begins with what they carry."""
        self._settings = settings = settings or BitrateSettings()
        self._estimates = dict(estimates or {})
        self._began: float | None = None  # seconds, the first picture
        self._changed: float | None = None
        self._starting = True
        known = [estimate.bits_per_second for estimate in self._estimates.values()]
        self.target = min([settings.maximum, max(min(known), settings.minimum) if known else settings.start])

    def estimate(self, viewer: Hashable, bits_per_second: int, now: float) -> None:
        """A viewer's receiver estimated its maximum bit rate (draft-alvestrand-rmcat-remb-03)."""
        self._estimates[viewer] = Estimate(now, bits_per_second)

    def forget(self, viewer: Hashable) -> None:
        """The viewer left. Those who remain may soon have what it did not carry."""
        if self._estimates.pop(viewer, None) is not None:
            self._starting = True

    def update(self, now: float) -> bool:
        """Recompute `target`; True when it changed."""
        settings = self._settings
        if self._began is None:
            self._began = now
        heard = [one.bits_per_second for one in self._estimates.values() if now - one.at <= settings.stale_after]
        fresh = [bits for bits in heard if bits >= settings.minimum // 2] or heard
        if not fresh and now - self._began < settings.unheard:
            return False
        wanted = max(min([settings.maximum, round(settings.most_up * self.target), *fresh]), settings.minimum)
        if abs(wanted - self.target) < settings.change * self.target:
            return False
        since = self._began if self._changed is None and wanted > self.target else self._changed
        if since is not None and now - since < self._patience(wanted):
            return False
        self._starting = self._starting and self.target < wanted < settings.maximum
        self.target, self._changed = wanted, now
        return True

    def _patience(self, wanted: int) -> float:
        """Seconds since the last change before this one may come."""
        settings = self._settings
        if wanted < settings.far * self.target:
            return settings.far_down_every
        if wanted < self.target:
            return settings.down_every
        return settings.first_up_every if self._starting else settings.up_every
