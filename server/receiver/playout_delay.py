"""How late to play: the delay of the playout buffer, from the transits of frames.

`render time = media time + base + depth`, where media time is the sender's capture clock:

base   smallest transit (arrival - capture) of the last ten to twenty seconds. It holds the unknown offset of the two
       clocks, and because old minima expire it follows their drift.
depth  what the stream needs on top: the excess transit that 95 % of recent frames stay under (jitter, bundling and
       repeats alike, RFC 3550 section 6.4.1 measures the same quantity as a mean). Where pictures are to be as many as
       frames, each frame is one picture, asked for when it is due, and may come a little late. Where they are not, one
       frame interval comes on top, so that the right-hand neighbour of any asked time has normally arrived and motion
       can be interpolated.

Changes of base + depth are spread out as slightly slow or fast playing. NetEq of WebRTC calls this its delay manager.
Pure: takes every time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_SHORTER, _LONGER = 0.25, 0.1  # of the pictures' interval, within which frames are as many: 30 for 25, not 25 for 30
_UNSEEN = 0.25  # share of the interval by which a picture may be late before anybody sees it
_SETTLED = 20  # frames that must agree before a longer way is believed


@dataclass(frozen=True)
class DelaySettings:
    """Knobs of the delay, all in seconds unless named otherwise."""

    minimum_depth: float = 0.0  # never less delay than this above the fastest transit
    maximum_depth: float = 0.4  # never more: beyond it frames are late instead
    percentile: float = 0.95  # share of recent frames that the depth waits for
    jitter_frames: int = 100  # recent frames of which the percentile is taken
    base_window: float = 10.0  # how long a smallest transit counts
    growth: float = 0.25  # seconds of depth gained per second at most (playing at 75 % speed)
    shrink: float = 0.05  # seconds of depth given back per second at most (playing at 105 % speed)
    deep: float = 0.2  # seconds above the fastest transit: a depth beyond that is given back faster
    shrink_deep: float = 0.5  # seconds of such depth given back per second at most (playing at 150 % speed)
    jump: float = 2.0  # a transit that moves by more than this is a restarted sender clock


class PlayoutDelay:
    """Estimates base and depth, and moves the applied delay towards their sum."""

    def __init__(self, settings: DelaySettings, picture_interval: float = 0.0) -> None:
        """`picture_interval`: seconds between the pictures that are wanted; 0 when any time may be asked for."""
        self._settings = settings
        self._picture_interval = picture_interval
        self._minimum_depth = settings.minimum_depth
        self.reset()

    def reset(self) -> None:
        """Forget the stream; what was required of the depth stays."""
        self._transits: deque[float] = deque(maxlen=self._settings.jitter_frames)
        self._minima: deque[tuple[float, float]] = deque()  # (arrival, transit), transit rising: sliding minimum
        self._intervals: deque[float] = deque(maxlen=15)
        self._applied: float | None = None
        self._updated_at = 0.0

    @property
    def interval(self) -> float:
        """Median time between captured frames, seconds."""
        if not self._intervals:
            return 0.04
        return sorted(self._intervals)[len(self._intervals) // 2]

    @property
    def frame_for_frame(self) -> bool:
        """Whether every frame becomes one picture, so that none has to wait for its right-hand neighbour."""
        longer = self.interval - self._picture_interval
        return -_SHORTER * self._picture_interval <= longer <= _LONGER * self._picture_interval

    @property
    def base(self) -> float | None:
        """Smallest recent transit: receiver's clock minus sender's clock plus the fastest way, seconds."""
        return self._minima[0][1] if self._minima else None

    @property
    def depth(self) -> float:
        """Depth to play at, seconds: natural or required, whichever is more, within the settings' bounds."""
        return min(max(self.natural_depth, self._minimum_depth), self._settings.maximum_depth)

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
    def applied(self) -> float | None:
        """Receiver's clock minus media time as played now, seconds (holds the clock offset); None before `update`."""
        return self._applied

    def require_depth(self, seconds: float) -> None:
        """Ask for at least this depth from now on (lip sync with slower sound), within the maximum."""
        self._minimum_depth = min(max(self._settings.minimum_depth, seconds), self._settings.maximum_depth)

    def is_strange(self, transit: float) -> bool:
        """Whether a transit lies so far from the others that it is a straggler's, or of a clock that began anew."""
        base = self.base
        return base is not None and abs(transit - base) > self._settings.jump

    def observe(self, transit: float, arrival: float) -> None:
        """One more frame arrived. transit: arrival - capture, seconds; arrival: seconds, receiver's clock."""
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

    def observe_interval(self, seconds: float) -> None:
        """Time between the captures of two neighbouring frames; long gaps are no intervals and left out."""
        if seconds < 1.0:
            self._intervals.append(seconds)

    def update(self, now: float) -> float:
        """The delay to play with at `now`: closer to base + depth, as fast as the slew limits allow.

        Needs one observed frame.
        """
        base = self.base
        assert base is not None
        wanted = base + self.depth
        if self._applied is None or abs(wanted - self._applied) > self._settings.jump:
            self._applied = wanted
        else:
            elapsed = max(now - self._updated_at, 0.0)
            if wanted > self._applied:
                self._applied = min(wanted, self._applied + self._settings.growth * elapsed)
            else:
                settings = self._settings
                shrink = settings.shrink_deep if self._applied - base > settings.deep else settings.shrink
                self._applied = max(wanted, self._applied - shrink * elapsed)
        self._updated_at = now
        return self._applied
