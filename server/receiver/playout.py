"""Playout buffer: motion frames that arrive unevenly come out as smooth motion at any asked time.

A pure state machine: it takes every time and owns no clock. Media time is the sender's capture clock, unwrapped from
32 bits; arrival and render times are seconds of the receiver's monotonic clock. `playout_delay.py` says how late to
play; here stands which frames play at a time: what NetEq of WebRTC calls its decision. Media time never runs backwards.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Literal

from model.motion import Motion, interpolate
from server.receiver.gap_easing import GapEasing
from server.receiver.playout_delay import DelaySettings, PlayoutDelay

State = Literal["waiting", "live", "lost"]

_WRAP = 1 << 32

_GAP = 1.5
"""Intervals between two frames from which on one is missing."""

_EARLY = 0.3
"""Share of the interval by which a frame that is a picture of its own may be shown before its time: more than the delay
grows in an interval."""


@dataclass(frozen=True)
class PlayoutSettings(DelaySettings):
    """Knobs of the playout buffer, all in seconds unless named otherwise."""

    bridge: float = 0.3  # gaps up to this are interpolated across; longer ones are held, then eased out of
    ease: float = 0.12  # how long the way back from a held motion takes
    freeze: float = 0.15  # held longer than one interval plus this counts as a freeze
    lost_after: float = 1.0  # held this long means the signal is lost
    capacity: int = 128  # frames kept at most


@dataclass(frozen=True)
class PlayoutFrame:
    """What comes out: the motion to render at one time."""

    motion: Motion
    source: int  # index of the sender's source image
    capture_ms: int  # media time that this picture shows, milliseconds of the sender's clock, unwrapped
    state: State
    held: float  # seconds for which something new should have been there to play and was not; 0 while live


@dataclass
class PlayoutCounters:
    """What happened since the start."""

    received: int = 0
    late: int = 0  # arrived after its turn
    duplicate: int = 0
    discarded: int = 0  # pushed out because the buffer was full
    freezes: int = 0
    resets: int = 0  # restarts of the sender's clock


@dataclass
class _Entry:
    capture: float  # media time, seconds
    motion: Motion = field(repr=False)
    source: int


class CaptureClock:
    """Unwraps the sender's 32-bit capture times, frames in any order."""

    def __init__(self) -> None:
        self._newest_ms: int | None = None  # unwrapped

    def unwrap(self, capture_ms: int) -> int:
        """Milliseconds that go on rising where `capture_ms` (modulo 2**32) wraps; the first one stays as it is."""
        if self._newest_ms is None:
            self._newest_ms = capture_ms % _WRAP
            return self._newest_ms
        step = (capture_ms - self._newest_ms + _WRAP // 2) % _WRAP - _WRAP // 2
        unwrapped = self._newest_ms + step
        self._newest_ms = max(self._newest_ms, unwrapped)
        return unwrapped


class PlayoutBuffer:
    """Adaptive playout of one sender's motion. `push` in any order, `sample` at increasing times."""

    def __init__(self, settings: PlayoutSettings | None = None, picture_interval: float = 0.0) -> None:
        """`picture_interval`: seconds between the pictures that are wanted; 0 when any time may be asked for."""
        self._settings = settings or PlayoutSettings()
        self.counters = PlayoutCounters()
        self.delay = PlayoutDelay(self._settings, picture_interval)
        self._easing = GapEasing(self._settings.ease)
        self._reset()

    def _reset(self) -> None:
        self._clock = CaptureClock()
        self._entries: list[_Entry] = []  # sorted by capture; [0] is what plays, or played last
        self._media = -1e18  # media time played last, seconds
        self._playing: _Entry | None = None
        self._advanced_at = 0.0
        self._frozen = False

    @property
    def depth(self) -> float:
        """Depth to play at, seconds above the fastest transit."""
        return self.delay.depth

    @property
    def frame_for_frame(self) -> bool:
        """Whether every frame becomes one picture, so that none has to wait for its right-hand neighbour."""
        return self.delay.frame_for_frame

    @property
    def next_due(self) -> float | None:
        """When the frame after the one that plays is due, receiver's clock: as it is known, or else expected.

        None where motion is interpolated, and before there is any.
        """
        if not self.frame_for_frame or self.delay.applied is None or not self._entries:
            return None
        ahead = next((entry.capture for entry in self._entries if entry.capture > self._media), None)
        return self.delay.applied + (self._entries[0].capture + self.delay.interval if ahead is None else ahead)

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, capture_ms: int, motion: Motion, source: int, arrival: float) -> bool:
        """Take one frame; False when it was late or known already.

        capture_ms: the sender's clock modulo 2**32. arrival: seconds, receiver's clock.
        """
        self.counters.received += 1
        capture = self._clock.unwrap(capture_ms) / 1000.0
        base = self.delay.base
        if base is not None and self.delay.is_strange(arrival - capture):
            # One straggler is late; a stream that agrees on the new transit is a sender that started anew.
            if arrival - capture > base and capture <= self._entries[-1].capture:
                self.counters.late += 1
                return False
            self._reset()
            self.delay.reset()
            self._easing.hold()
            self.counters.resets += 1
            capture = self._clock.unwrap(capture_ms) / 1000.0
        self.delay.observe(arrival - capture, arrival)
        return self._insert(_Entry(capture, motion, source))

    def _insert(self, entry: _Entry) -> bool:
        captures = [other.capture for other in self._entries]
        place = bisect.bisect_left(captures, entry.capture)
        if place < len(captures) and captures[place] == entry.capture:
            self.counters.duplicate += 1
            return False
        if place == 0 and captures and captures[0] <= self._media:
            self.counters.late += 1
            return False
        if place == len(captures) and captures:
            self.delay.observe_interval(entry.capture - captures[-1])
        self._entries.insert(place, entry)
        if len(self._entries) > self._settings.capacity:
            del self._entries[0]
            self.counters.discarded += 1
        return True

    def sample(self, now: float) -> PlayoutFrame | None:
        """The motion to show at `now` (seconds, not before the last call's); None while nothing has arrived."""
        if not self._entries:
            return None
        # Whatever is shown first is shown at once; media time stands there until its turn comes.
        media = max(now - self.delay.update(now), self._media, self._entries[0].capture)
        # The delay may have grown since it was said when this frame is due.
        early = _EARLY * self.delay.interval if self.frame_for_frame else 0.0
        while len(self._entries) > 1 and self._entries[1].capture <= media + early:
            del self._entries[0]
        left = self._entries[0]
        right = self._entries[1] if len(self._entries) > 1 else None
        media = self._media = max(media, left.capture)

        starved = media > left.capture and (right is None or right.capture - left.capture > self._settings.bridge)
        target = left.motion
        # Where a frame is a picture of its own, only a gap is bridged: each is shown as it was sent.
        apart = _GAP * self.delay.interval if self.frame_for_frame else 0.0
        if right is not None and not starved and media > left.capture and right.capture - left.capture > apart:
            target = interpolate(left.motion, right.motion, (media - left.capture) / (right.capture - left.capture))
        held, interval = self._held(left, starved, now), self.delay.interval
        # A frame that is a picture of its own plays until its successor is due, and nothing is missing until then.
        missing = max(held - interval, 0.0) if self.frame_for_frame else held
        # Nor is one that comes a little late a gap: it is shown when it comes, as it is.
        motion = self._easing.show(target, now, holding=missing > interval)
        state: State = "lost" if held > self._settings.lost_after else "live"
        capture = left.capture if starved else media
        return PlayoutFrame(motion, left.source, round(capture * 1000), state, missing)

    def _held(self, playing: _Entry, starved: bool, now: float) -> float:
        """Seconds for which nothing new has played; counts freezes."""
        if not starved or playing is not self._playing:
            self._advanced_at = now
            self._frozen = False
        self._playing = playing
        held = now - self._advanced_at
        if held > self.delay.interval + self._settings.freeze and not self._frozen:
            self._frozen = True
            self.counters.freezes += 1
        return held
