"""How much of the line a sender takes, and for what: one controller over voice, motion, redundancy and source images.

In go what came back: round trips and losses. Out come a `VoiceOrder`, the frame rate, bundle, repeats and quantiser
step of motion, and the pace of source images. A line that keeps up gets everything that was asked for. Where datagrams
begin to wait, the capacity follows from the slope of the wait (the delay gradient, draft-ietf-rmcat-gcc-02): a queue
that grows by g seconds a second drains at R / (1 + g) of the R that is sent. The budget goes below it until the queue
is empty. What is given up first is the precision of motion, then its frame rate, then bits of the voice, at last the
shortness of its packets. Pure: takes the time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from model.codec.packet import MAX_FRAMES
from model.codec.quantise import MAX_STEP_INDEX
from model.codec.rate import Rate
from server.sender.media.voice_order import VOICE_KBPS, VoiceOrder

PACKET_HEADER_BYTES = 64
"""Around a packet of the voice: IPv4 and UDP 28, RTP with two header extensions 20, the tag of SRTP 16."""

PIECE_SECONDS = 0.02

WAITING, DEVIATIONS = 0.06, 2.5
"""Seconds above the shortest round trip that count as a queue, and how many standard deviations of the jitter more."""

JITTER_WEIGHT = 0.3
"""Of a new measure of the jitter."""

DATAGRAM_BYTES = 200
"""What takes its time on a narrow line without any queue: so much longer may a round trip be, too."""

LONG_WAIT = 0.09
"""Seconds beyond all that at which the budget falls, whether the queue grows or not."""

GROWS, DRAINS = 0.05, -0.05
"""Seconds a second, of a queue that grows, and of one that drains by itself."""

BASE_SECONDS = 10.0
"""For which the shortest round trip counts; longer than a queue is left standing."""

ROUND_TRIPS_SECONDS, SLOPE_SECONDS, OLD_SECONDS = 0.5, 1.0, 1.5
"""Round trips so long ago say how long datagrams wait, and how that changes. The least counts: jitter only adds. Two
are needed, the last ones, where there are no more.
"""

SENT_SECONDS = 1.0
"""Over which the present rate is taken."""

MOST_KBPS, LEAST_KBPS = 64.0, 10.0
"""Of the budget. A call wants no more than the former."""

USED = 0.9
"""Share of the estimated capacity that is used once the queue is empty."""

GROWTH, GROWTH_LATER, QUIET_SECONDS = 0.03, 0.05, 10.0
"""Share by which the budget grows in a second without a queue, at first and after so many seconds."""

PROBE, NEAR = 1.05, 0.7
"""Share of the capacity that the budget grows to, and that has to be sent for the capacity to be taken for more: what
was never sent was never seen to get through.
"""

SETTLING = 1.0
"""Seconds after the first effect of a smaller budget before the next one: so long the queue takes to empty."""

BETTER = 0.93
"""Share of the budget that something better must fit into: else a budget that grows changes it back and forth."""

OTHER_KBPS = 3.0
"""Control channel, acknowledgements, RTCP and STUN."""

LOSES, LOSES_MUCH = 0.025, 0.08
"""Share of packets lost from which the voice has in-band FEC, and from which its packets are shorter, too."""

KEEPS = 0.6
"""What was begun because of loss goes on down to this share of its threshold."""

LOSS_RISES, LOSS_FALLS = 0.4, 0.1
"""Weights of a report of more, or of less, loss than is reckoned with."""

FEC_KBPS, FEC_LOSS = 18.0, 30
"""libopus 1.6 has in-band FEC in wideband packets of 60 ms from this rate on, when told so much loss (measured)."""

REPEATED_SECONDS = 0.24
"""Motion sent that lately is sent again, where packets are lost."""

PROTECTED_COARSER = 3
"""Step indices by which motion is coarser where the voice has FEC: its bits are paid for more than once there."""

SCARCE_LOSS = 0.01
"""Share of packets lost up to which nothing is repeated."""

CHANNEL_BUNDLE, GENEROUS_KBPS = 2, 40.0
"""Frames that share a message of the data channel at least, unless the budget is generous: its headers cost more than
what two frames hold."""

CHANNEL_SHARE = 0.75
"""Of the budget that motion on the data channel is told: its rate reckons with a head that moves mildly."""

CHANNEL_REPEAT = 4
"""Frames that each message of the data channel repeats, where messages are lost."""

FIRST_SOURCE_KBPS, SOURCE_KBPS, SOURCE_SHARE = 400.0, 32.0, 0.25
"""Pace of a source image: of the first one, without which there is nothing to see; of later ones; on a line whose
capacity is known its share of the budget."""


@dataclass(frozen=True)
class _Motion:
    """A quality of motion: step indices coarser than asked for, most frames a second, and the share of bits left."""

    coarser: int
    frames_per_second: float | None
    share: float


_MOTION = (
    _Motion(0, None, 1.0),
    _Motion(4, None, 0.7),
    _Motion(8, None, 0.5),
    _Motion(11, 15.0, 0.25),
    _Motion(11, 8.0, 0.16),
)

_MOTION_KBPS = 6.0
"""Payload of 25 frames a second at step index 0, until it is measured; docs/performance.md."""


MEASURE_WEIGHT = 0.05
"""Of a new measure of motion's payload."""


@dataclass(frozen=True)
class RateDecision:
    """What the budget is spent on."""

    voice: VoiceOrder
    riding: Rate  # of motion behind the voice: all that waits becomes one message when a packet leaves
    channel: Rate  # of motion on the data channel
    source_kbps: float  # pace of source images after the first


class RateControl:
    """Of one connection. Times are seconds of one clock, rates kbit/s on the wire."""

    def __init__(self, motion: Rate, voice_kbps: float = VOICE_KBPS) -> None:
        """`motion`, `voice_kbps`: what was asked for, of which there is never more."""
        self._motion = motion
        self._voice_kbps = voice_kbps
        self._round_trips: deque[tuple[float, float]] = deque(maxlen=512)
        self._minima: deque[tuple[float, float]] = deque()  # of BASE_SECONDS, rising
        self._sent: deque[tuple[float, int]] = deque()
        self._grown: float | None = None  # when the budget last grew, or could have
        self._fell = float("-inf")
        self._capacity: float | None = None  # of the line, where it was ever too narrow
        self._jitter = 0.0  # standard deviation of round trips, seconds
        self._draining = False  # whether the budget is smaller than the capacity, so that the queue empties
        self._full_motion: float = _MOTION_KBPS * 2.0 ** (-motion.step_index / 6)  # payload in full quality
        self._voice, self._level = VoiceOrder(voice_kbps), _MOTION[0]
        self._protects = self._dense = False
        self.budget = MOST_KBPS
        """Of everything that leaves."""
        self.loss = 0.0
        """Share of packets that is reckoned with."""
        self.congested = False
        """Whether the line was ever narrower than the call."""
        self.decision = self._decide()

    @property
    def round_trip(self) -> float | None:
        """The shortest lately, seconds."""
        return self._minima[0][1] if self._minima else None

    def sent(self, size: int, now: float) -> None:
        """A datagram left, `size` bytes with all headers."""
        self._sent.append((now, size))
        while self._sent[0][0] < now - SENT_SECONDS:
            self._sent.popleft()

    def motion_rate(self, kbps: float) -> None:
        """Payload of motion, measured; in less than full quality it tells nothing of what that would take."""
        if self._level is _MOTION[0] and not self._protects and not self._repeat():
            self._full_motion += MEASURE_WEIGHT * (min(max(kbps, 2.0), 20.0) - self._full_motion)

    def lost(self, share: float) -> None:
        """A report of the receiver: the share of packets lost since the one before."""
        self.loss += (LOSS_RISES if share > self.loss else LOSS_FALLS) * (share - self.loss)
        self.decision = self._decide()

    def measured(self, round_trip: float, now: float) -> None:
        """Something was answered that left `round_trip` seconds ago."""
        self._round_trips.append((now, round_trip))
        while self._round_trips[0][0] < now - SLOPE_SECONDS and len(self._round_trips) > 3:
            self._round_trips.popleft()
        while self._minima and self._minima[-1][1] >= round_trip:
            self._minima.pop()
        self._minima.append((now, round_trip))
        while self._minima[0][0] < now - BASE_SECONDS:
            self._minima.popleft()
        self._steer(now)
        self.decision = self._decide()

    def waiting(self, now: float) -> float:
        """Seconds that datagrams wait somewhere on the way, lately."""
        recent = [trip for when, trip in self._round_trips if when >= now - ROUND_TRIPS_SECONDS]
        if len(recent) < 2:
            recent = [trip for when, trip in self._round_trips if when >= now - OLD_SECONDS][-2:]
        return 0.0 if len(recent) < 2 else min(recent) - self._minima[0][1]

    def _steer(self, now: float) -> None:
        wait = self.waiting(now)
        effective = now - self._fell >= (self.round_trip or 0.0) + wait + SETTLING
        slope, deviation = self._trend()
        if not self._draining:
            self._jitter += JITTER_WEIGHT * (deviation - self._jitter)  # a queue that empties is no jitter
        queue = WAITING + DEVIATIONS * self._jitter
        if self._capacity is not None and self._minima[0][0] < self._fell:
            queue += 8e-3 * DATAGRAM_BYTES / self._capacity  # the shortest round trip is one of a wider line
        if wait > queue:
            self._grown = None
            if effective and (slope > GROWS or (wait > queue + LONG_WAIT and slope > DRAINS)):
                capacity = self._rate(now) / (1.0 + max(slope, 0.0))
                self._capacity = capacity
                # Below the capacity by as much as empties the queue in a second.
                self.budget = max(min(capacity * (USED - min(0.4, wait)), self.budget), LEAST_KBPS)
                self._fell, self._draining, self.congested = now, True, True
        elif slope <= GROWS:
            if self._draining and self._capacity is not None:
                self.budget = max(self.budget, min(USED * self._capacity, MOST_KBPS))
                self._draining = False
            elif self._grown is not None:
                growth = GROWTH_LATER if now - self._fell > QUIET_SECONDS else GROWTH
                more = 1.0 + growth * min(now - self._grown, 1.0)
                most = MOST_KBPS
                if self._capacity is not None:
                    if self._rate(now) > NEAR * self._capacity:
                        self._capacity = min(self._capacity * more, MOST_KBPS)
                    most = PROBE * self._capacity
                self.budget = max(self.budget, min(self.budget * more, most, MOST_KBPS))
            self._grown = now

    def _trend(self) -> tuple[float, float]:
        """Growth of the round trip, seconds a second, and the standard deviation from it, seconds: least squares."""
        points = self._round_trips
        if len(points) < 3 or points[-1][0] - points[0][0] < 0.2:
            return 0.0, 0.0
        middle = sum(when for when, _ in points) / len(points)
        mean: float = sum(trip for _, trip in points) / len(points)
        spread: float = sum((when - middle) ** 2 for when, _ in points)
        slope: float = sum((when - middle) * (trip - mean) for when, trip in points) / spread
        rest = sum((trip - mean - slope * (when - middle)) ** 2 for when, trip in points)
        return slope, math.sqrt(rest / (len(points) - 2))

    def _rate(self, now: float) -> float:
        size = sum(size for when, size in self._sent if when >= now - SENT_SECONDS)
        return 8e-3 * size / SENT_SECONDS + OTHER_KBPS

    def _decide(self) -> RateDecision:
        self._protects = self.loss >= LOSES * (KEEPS if self._protects else 1.0)
        self._dense = self.loss >= LOSES_MUCH * (KEEPS if self._dense else 1.0)
        choices = self._choices()
        voice, level = next((choice for choice in choices if self._cost(*choice) <= self.budget), choices[-1])
        before = (self._voice, self._level)
        if before in choices and self._cost(*before) <= self.budget and self._cost(voice, level) > BETTER * self.budget:
            voice, level = before
        self._voice, self._level = voice, level
        frames = [rate for rate in (self._motion.frames_per_second, level.frames_per_second) if rate is not None]
        repeat = self._repeat()
        coarser = max(level.coarser, PROTECTED_COARSER if self._protects else 0)
        riding = replace(
            self._motion,
            step_index=min(self._motion.step_index + coarser, MAX_STEP_INDEX),
            frames_per_second=min(frames, default=None),
            frames_per_message=MAX_FRAMES - repeat,
            repeat=repeat,
            header_bytes=0,
        )
        source = SOURCE_SHARE * self.budget if self.congested else SOURCE_KBPS
        return RateDecision(voice, riding, self._channel(), source)

    def _choices(self) -> list[tuple[VoiceOrder, _Motion]]:
        """What may be had, from the best to the least."""
        kbps = self._voice_kbps
        protected = VoiceOrder(max(kbps, FEC_KBPS), FEC_LOSS, 2 if self._dense else 3)
        choices = [(protected, motion) for motion in _MOTION[:3]] if self._protects else []
        choices += [(VoiceOrder(kbps), motion) for motion in _MOTION[:4]]
        choices += [(VoiceOrder(min(kbps, 10.0)), motion) for motion in _MOTION[2:4]]
        choices += [(VoiceOrder(min(kbps, 10.0), pieces=6), motion) for motion in _MOTION[1:4]]
        choices += [(VoiceOrder(min(kbps, 8.0), pieces=6), motion) for motion in _MOTION[3:]]
        choices.append((VoiceOrder(min(kbps, 6.0), pieces=6), _MOTION[-1]))
        return choices

    def _cost(self, voice: VoiceOrder, motion: _Motion) -> float:
        headers = 8e-3 * PACKET_HEADER_BYTES / (voice.pieces * PIECE_SECONDS)
        repeated = 1.5 if self._protects else 1.0
        return voice.kbps + headers + motion.share * self._full_motion * repeated + OTHER_KBPS

    def _repeat(self) -> int:
        if self.loss <= SCARCE_LOSS:
            return 0
        rate = self._level.frames_per_second or self._motion.frames_per_second or 25.0
        return min(max(1, round(REPEATED_SECONDS * rate)), MAX_FRAMES // 2)

    def _channel(self) -> Rate:
        asked = self._motion
        if self.congested:
            # In steps, so that an encoder is not given another budget with every answer.
            kbps = 2.0 * math.floor(CHANNEL_SHARE * (self.budget - OTHER_KBPS) / 2.0)
            if asked.kbps is None or kbps < asked.kbps:
                asked = Rate.for_kbps(max(kbps, 4.0))
        if asked.kbps is not None and asked.kbps < GENEROUS_KBPS:
            asked = replace(asked, frames_per_message=max(asked.frames_per_message, CHANNEL_BUNDLE))
        if self.loss > SCARCE_LOSS:
            asked = replace(asked, repeat=max(asked.repeat, min(CHANNEL_REPEAT, MAX_FRAMES - asked.frames_per_message)))
        return asked
