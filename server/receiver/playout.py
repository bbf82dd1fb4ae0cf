"""Playout buffer: motion frames that arrive unevenly come out as smooth motion at any asked time.

A pure state machine: it is told every time and owns no clock. Media time is the sender's capture clock, unwrapped from
32 bits; arrival and render times are seconds of the receiver's monotonic clock. Their relation is
`render time = media time + base + depth`:

base   smallest transit (arrival - capture) of the last ten to twenty seconds. It holds the unknown offset of the two
       clocks, and because old minima expire it follows their drift.
depth  what the stream needs on top: the excess transit that 95 % of recent frames stay under (jitter, bundling and
       repeats alike, RFC 3550 section 6.4.1 measures the same quantity as a mean). Where pictures are to be as many as
       frames, each frame is one picture, asked for when it is due, and may come a little late. Where they are not, one
       frame interval comes on top, so that the right-hand neighbour of any asked time has normally arrived and motion
       can be interpolated.

Changes of base + depth are spread out as slightly slow or fast playing; media time never runs backwards.
"""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from model.motion import Motion, interpolate

State = Literal["waiting", "live", "lost"]

_WRAP = 1 << 32
_SAME_RATE = 0.2  # relative difference up to which pictures and frames count as equally many
_UNSEEN = 0.25  # share of the interval by which a picture may be late before anybody sees it
_SETTLED = 20  # frames that must agree before a longer way is believed


@dataclass(frozen=True)
class PlayoutSettings:
    """Knobs of the playout buffer, all in seconds unless named otherwise."""

    minimum_depth: float = 0.0  # never less delay than this above the fastest transit
    maximum_depth: float = 0.4  # never more: beyond it frames are late instead
    percentile: float = 0.95  # share of recent frames that the depth waits for
    jitter_frames: int = 100  # how many recent frames the percentile looks at
    base_window: float = 10.0  # how long a smallest transit counts
    growth: float = 0.25  # seconds of depth gained per second at most (playing at 75 % speed)
    shrink: float = 0.05  # seconds of depth given back per second at most (playing at 105 % speed)
    bridge: float = 0.3  # gaps up to this are interpolated across; longer ones are held, then eased out of
    ease: float = 0.12  # how long the way back from a held motion takes
    freeze: float = 0.15  # held longer than one interval plus this counts as a freeze
    lost_after: float = 1.0  # held this long means the signal is lost
    jump: float = 2.0  # a transit that moves by more than this is a restarted sender clock
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


class PlayoutBuffer:
    """Adaptive playout of one sender's motion. `push` in any order, `sample` at increasing times."""

    def __init__(self, settings: PlayoutSettings | None = None, picture_interval: float = 0.0) -> None:
        """`picture_interval`: seconds between the pictures that are wanted; 0 when any time may be asked for."""
        self._settings = settings or PlayoutSettings()
        self._picture_interval = picture_interval
        self.counters = PlayoutCounters()
        self._minimum_depth = self._settings.minimum_depth
        self._newest_wrapped: int | None = None
        self._newest_ms = 0
        self._reset()

    def _reset(self) -> None:
        self._entries: list[_Entry] = []  # sorted by capture; [0] is what plays, or played last
        self._transits: deque[float] = deque(maxlen=self._settings.jitter_frames)
        self._minima: deque[tuple[float, float]] = deque()  # (arrival, transit), transit rising: sliding minimum
        self._intervals: deque[float] = deque(maxlen=15)
        self._delay: float | None = None  # base + depth as applied now
        self._sampled_at = 0.0
        self._media = -1e18  # media time played last, seconds
        self._ease_from: Motion | None = None
        self._ease_start = 0.0
        self._shown: Motion | None = None
        self._resume_from: Motion | None = None
        self._playing: _Entry | None = None
        self._advanced_at = 0.0
        self._frozen = False

    @property
    def interval(self) -> float:
        """Median time between captured frames, seconds."""
        if not self._intervals:
            return 0.04
        return sorted(self._intervals)[len(self._intervals) // 2]

    @property
    def frame_for_frame(self) -> bool:
        """Whether every frame becomes one picture, so that none has to wait for its right-hand neighbour."""
        return abs(self.interval - self._picture_interval) <= _SAME_RATE * self._picture_interval

    @property
    def next_due(self) -> float | None:
        """When the frame after the one that plays is due, receiver's clock: as it is known, or else expected.

        None where motion is interpolated, and before there is any.
        """
        if not self.frame_for_frame or self._delay is None or not self._entries:
            return None
        ahead = next((entry.capture for entry in self._entries if entry.capture > self._media), None)
        return self._delay + (self._entries[0].capture + self.interval if ahead is None else ahead)

    @property
    def base(self) -> float | None:
        """Smallest recent transit: receiver's clock minus sender's clock plus the fastest way, seconds."""
        return self._minima[0][1] if self._minima else None

    @property
    def depth(self) -> float:
        """Depth to play at, seconds: natural or required, whichever is more, within the settings' bounds."""
        wanted = max(self.natural_depth, self._minimum_depth)
        return min(wanted, self._settings.maximum_depth)

    @property
    def natural_depth(self) -> float:
        """Depth that jitter and, where motion is interpolated, the frame rate ask for, seconds."""
        base = self.base
        if base is None:
            return 0.0
        excess = sorted(transit - base for transit in self._transits)
        reach = excess[min(int(self._settings.percentile * len(excess)), len(excess) - 1)]
        # A frame of its own is shown when it comes, a little late; one to interpolate towards has to be there in time.
        on_top = -_UNSEEN * self.interval if self.frame_for_frame else self.interval
        return min(max(max(reach, 0.0) + on_top, 0.0), self._settings.maximum_depth)

    @property
    def required_depth(self) -> float:
        """Depth asked for by settings or `require_depth`, seconds."""
        return self._minimum_depth

    @property
    def delay(self) -> float | None:
        """Receiver's clock minus media time as played now, seconds (holds the clock offset); None before any frame."""
        return self._delay

    def require_depth(self, seconds: float) -> None:
        """Ask for at least this depth from now on (lip sync with slower sound), within the maximum."""
        self._minimum_depth = min(max(self._settings.minimum_depth, seconds), self._settings.maximum_depth)

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, capture_ms: int, motion: Motion, source: int, arrival: float) -> bool:
        """Take one frame; False when it was late or known already.

        capture_ms: the sender's clock modulo 2**32. arrival: seconds, receiver's clock.
        """
        self.counters.received += 1
        extended = self._unwrap(capture_ms)
        capture = extended / 1000.0
        transit = arrival - capture
        base = self.base
        if base is not None and abs(transit - base) > self._settings.jump:
            # One straggler is late; a stream that agrees on the new transit is a sender that started anew.
            if transit > base and capture <= self._entries[-1].capture:
                self.counters.late += 1
                return False
            shown, self._newest_wrapped = self._shown, None
            self._reset()
            self.counters.resets += 1
            extended = self._unwrap(capture_ms)
            capture = extended / 1000.0
            transit = arrival - capture
            self._shown = self._resume_from = shown
        self._observe(transit, arrival)

        captures = [entry.capture for entry in self._entries]
        place = bisect.bisect_left(captures, capture)
        if place < len(captures) and captures[place] == capture:
            self.counters.duplicate += 1
            return False
        if place == 0 and captures and captures[0] <= self._media:
            self.counters.late += 1
            return False
        if place == len(captures) and captures:
            gap = capture - captures[-1]
            if gap < 1.0:
                self._intervals.append(gap)
        self._entries.insert(place, _Entry(capture, motion, source))
        if len(self._entries) > self._settings.capacity:
            del self._entries[0]
            self.counters.discarded += 1
        return True

    def sample(self, now: float) -> PlayoutFrame | None:
        """The motion to show at `now` (seconds, not before the last call's); None while nothing has arrived."""
        if not self._entries:
            return None
        self._follow(now)
        assert self._delay is not None
        # Whatever is shown first is shown at once; media time stands there until its turn comes.
        media = max(now - self._delay, self._media, self._entries[0].capture)
        self._media = media
        while len(self._entries) > 1 and self._entries[1].capture <= media:
            del self._entries[0]
        left = self._entries[0]
        right = self._entries[1] if len(self._entries) > 1 else None

        starved = media > left.capture and (right is None or right.capture - left.capture > self._settings.bridge)
        if right is not None and not starved and media > left.capture:
            weight = (media - left.capture) / (right.capture - left.capture)
            target = interpolate(left.motion, right.motion, weight)
        else:
            target = left.motion
        if not starved or left is not self._playing:
            self._advanced_at = now
            self._frozen = False
        self._playing = left
        held = now - self._advanced_at
        if held > self.interval + self._settings.freeze and not self._frozen:
            self._frozen = True
            self.counters.freezes += 1
        motion = self._ease(target, now, held > self.interval)
        self._shown = motion
        state: State = "lost" if held > self._settings.lost_after else "live"
        capture = left.capture if starved else media
        # A frame that is a picture of its own plays until its successor is due, and nothing is missing until then.
        missed = max(held - self.interval, 0.0) if self.frame_for_frame else held
        return PlayoutFrame(motion, left.source, round(capture * 1000), state, missed)

    def _unwrap(self, capture_ms: int) -> int:
        if self._newest_wrapped is None:
            self._newest_wrapped = capture_ms % _WRAP
            self._newest_ms = self._newest_wrapped
            return self._newest_ms
        step = (capture_ms - self._newest_wrapped + _WRAP // 2) % _WRAP - _WRAP // 2
        extended = self._newest_ms + step
        if step > 0:
            self._newest_wrapped = capture_ms % _WRAP
            self._newest_ms = extended
        return extended

    def _observe(self, transit: float, arrival: float) -> None:
        self._transits.append(transit)
        while self._minima and self._minima[-1][1] >= transit:
            self._minima.pop()
        self._minima.append((arrival, transit))
        # The window ends at the arrival itself, so one minimum always remains.
        while self._minima[0][0] < arrival - self._settings.base_window:
            self._minima.popleft()
        recent = list(self._transits)[-_SETTLED:]
        if len(recent) == _SETTLED and min(recent) - self._minima[0][1] > self._settings.maximum_depth:
            # The way became longer for good (another route): waiting for the window would make everything late.
            self._minima = deque([(arrival, min(recent))])
            self._transits = deque(recent, maxlen=self._settings.jitter_frames)

    def _follow(self, now: float) -> None:
        """Move the applied delay towards base + depth, as fast as the slew limits allow."""
        base = self.base
        assert base is not None
        wanted = base + self.depth
        if self._delay is None:
            self._delay = wanted
        else:
            elapsed = max(now - self._sampled_at, 0.0)
            if abs(wanted - self._delay) > self._settings.jump:
                self._delay = wanted
            elif wanted > self._delay:
                self._delay = min(wanted, self._delay + self._settings.growth * elapsed)
            else:
                self._delay = max(wanted, self._delay - self._settings.shrink * elapsed)
        self._sampled_at = now

    def _ease(self, target: Motion, now: float, holding: bool) -> Motion:
        """After a gap, lead from the held motion to the target instead of jumping there."""
        if holding:
            self._resume_from = self._shown
        elif self._resume_from is not None:
            self._ease_from, self._ease_start, self._resume_from = self._resume_from, now, None
        if self._ease_from is None:
            return target
        progress = (now - self._ease_start) / self._settings.ease
        if progress >= 1.0:
            self._ease_from = None
            return target
        return interpolate(self._ease_from, target, progress * progress * (3.0 - 2.0 * progress))
