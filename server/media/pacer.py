"""Pictures on a viewer's line that is too narrow for them: paced, paused, and told what the line carries. Pure.

All that is known of the line are its receiver's estimates (REMB). A receiver estimates from what came of the pictures
within the last second, since sound bears no times, and says so at once while packets pile up. From one such estimate to
the next, what left the window had come as it was sent, and what entered it is what the line carries beside the sound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from server.media.rtp_feedback import KeyframeRequests

_REPORTED = 0.85
"""What receivers report of what comes while packets pile up (draft-ietf-rmcat-gcc-02 section 5.5: beta)."""

_WINDOW = 1.0
"""Seconds over which they measure it."""

_BACK = 0.1
"""Seconds until an estimate is known here."""

_LEAST, _CRAWL = 48_000, 10_000
"""Bits a second of pictures that are let through at least, since encoders make little less; and where a line was found
to carry less than that."""

_APART = 0.01
"""Seconds between two estimates at least; one that comes sooner says nothing new."""

_FALLS = 0.95
"""An estimate below so much of another is lower."""

_AT_ONCE = 0.5
"""Seconds between two falls of an estimate at most that show together that packets pile up."""


@dataclass(frozen=True)
class PacerSettings:
    """How a narrow line is treated."""

    faster: float = 1.5  # than the estimate, so that what has piled up becomes less
    burst: float = 0.02  # seconds at that rate that may leave at once
    hold: float = 10.0  # seconds that a line counts as narrow after it was seen to be
    piled: float = 0.15  # seconds that packets wait before the line, from which on pictures pause
    least_pause: float = 0.4  # seconds without pictures
    longest_pause: float = 2.0
    between: float = 0.3  # seconds between two pauses at least
    share: float = 0.75  # of what a line was found to carry, which is known to a sixth
    growth: float = 0.05  # by which more is tried each second after `hold`


@dataclass(frozen=True)
class _Fall:
    """An estimate that fell to below what is sent."""

    at: float = float("-inf")  # seconds
    bits: int = 0  # a second


@dataclass(frozen=True)
class _Pause:
    """A time without pictures."""

    begins: float = float("-inf")  # seconds
    ends: float = float("-inf")
    carried: int = 0  # bits a second that the line was found to carry beside the sound


class Pacer:
    """Spaces packets of pictures on a line that is too narrow: a keyframe at once would hold up the sound behind it.

    An estimate is never much above what came, so a small one alone says nothing. A line is too narrow when its estimate
    falls to below what is sent. When it falls again at once, packets pile up before the line: pictures pause until most
    of them are through, and go on with what the line carries.
    """

    def __init__(self, settings: PacerSettings | None = None) -> None:
        self._settings = settings or PacerSettings()
        self._sent: deque[tuple[float, int]] = deque()  # of the last windows: (when, bytes)
        self._estimates: deque[tuple[float, int]] = deque()  # of the last two seconds: (when, bits a second)
        self._narrow = float("-inf")  # seen so last
        self._first, self._last = _Fall(), _Fall()  # of those that followed each other at once
        self._pause, self._before = _Pause(), _Pause()  # the last two
        self._free = float("-inf")

    def estimate(self, bits_per_second: int, now: float) -> None:
        """What the viewer's receiver says that the line carries of the pictures."""
        if self._estimates and now - self._estimates[-1][0] < _APART:
            return
        self._estimates.append((now, bits_per_second))
        while self._estimates[0][0] < now - 2.0:
            self._estimates.popleft()
        falls = bits_per_second < _FALLS * max(bits for _, bits in self._estimates)
        if falls and self._rate(now - 1.0, now) > 0.9 * bits_per_second:
            self._narrow = now
            self._fell(_Fall(now, bits_per_second))

    def carries(self, now: float) -> int | None:
        """Bits a second of pictures that are to be believed of what the receiver has said; None where it said nothing.

        For a while after a pause an estimate is small because little came, or large because nothing piled up.
        """
        if not self._estimates:
            return None
        latest = self._estimates[-1][1]
        since, hold = now - self._pause.begins, self._settings.hold
        if since > 6 * hold:
            return latest
        found = self._settings.share * self._pause.carried
        if since <= hold:
            return round(found)
        grown: float = found * (1 + self._settings.growth) ** (since - hold)
        return round(min(max(latest, found / 2), grown))

    def pauses(self, now: float) -> bool:
        """Whether no picture is to leave: what has piled up before the line goes first."""
        return now < self._pause.ends

    def wait(self, size: int, now: float) -> float:
        """Seconds after which a packet of `size` bytes may leave; it counts as sent then."""
        self._sent.append((now, size))
        while self._sent[0][0] < now - 3 * _WINDOW:
            self._sent.popleft()
        if now - self._narrow > self._settings.hold:
            return 0.0
        begin = max(self._free, now - self._settings.burst)
        paused = now - self._pause.begins <= self._settings.hold
        least = max(min(_LEAST, self._pause.carried), _CRAWL) if paused else _LEAST
        self._free = begin + 8 * size / max(self._settings.faster * (self.carries(now) or 0), least)
        return max(begin - now, 0.0)

    def _rate(self, begin: float, end: float) -> float:
        """Bits a second of pictures between two times."""
        return 8 * sum(size for when, size in self._sent if begin <= when < end) / (end - begin)

    def _fell(self, fall: _Fall) -> None:
        if fall.at - self._last.at > _AT_ONCE:
            self._first = self._last = fall
            return
        if fall.bits >= _FALLS * self._last.bits:
            return
        self._last = fall
        settings, lasts = self._settings, self.pauses(fall.at)
        if not lasts and fall.at - self._pause.ends < settings.between:
            return
        before = self._before if lasts else self._pause
        carried = self._capacity(before)
        # What was sent within a window and has not come in it waits before the line, and what was sent since it ended.
        sent, came = self._rate(fall.at - _WINDOW, fall.at), fall.bits / _REPORTED
        piled = (sent - came) * _WINDOW + max(self._rate(fall.at - 3 * _BACK, fall.at) - carried, 0.0) * _BACK
        if not lasts and piled < settings.piled * carried:
            return
        begins = self._pause.begins if lasts else fall.at
        ends = max(fall.at + piled / carried, begins + settings.least_pause)
        self._before = before
        self._pause = _Pause(begins, min(ends, begins + settings.longest_pause), carried)

    def _capacity(self, before: _Pause) -> int:
        """Bits a second that the line carries beside the sound, by how fast its estimate fell; at least one.

        before: the pause before this one
        """
        elapsed = self._last.at - self._first.at
        most = self._last.bits / _REPORTED
        if self._first.at - 2 * _WINDOW < before.ends:
            return max(round(most), 1)  # what came had waited, and not as long as it was sent apart
        if elapsed < 0.05:
            return max(round(most / 2), 1)
        sent = self._rate(self._first.at - _WINDOW, self._last.at - _WINDOW)
        carried = sent + (self._last.bits - self._first.bits) / _REPORTED / elapsed
        return max(round(min(max(carried, most / 3), most)), 1)


class PausedPictures:
    """Which encoded pictures leave: none in a pause, and after one those from the next keyframe on."""

    def __init__(self, pacer: Pacer, on_keyframe: Callable[[], None], on_bitrate: Callable[[int], None]) -> None:
        """`on_keyframe()` asks for one, `on_bitrate(bits_per_second)` tells what the line carries."""
        self._pacer = pacer
        self._keyframes = KeyframeRequests()
        self._on_keyframe = on_keyframe
        self._on_bitrate = on_bitrate
        self._paused = False
        self._interrupted = False

    def leaves_out(self, keyframe: bool, now: float) -> bool:
        """Whether the picture that would leave now does not."""
        if self._pacer.pauses(now):
            self._interrupted = self._paused = True
            return True
        if self._paused:
            self._paused = False
            if (carries := self._pacer.carries(now)) is not None:
                self._on_bitrate(carries)  # before the keyframe, which is to fit
            self._keyframes.request()
        elif self._interrupted and keyframe:
            self._interrupted = False
            self._keyframes.came()
        if self._keyframes.due(now):
            self._on_keyframe()
        return self._interrupted
