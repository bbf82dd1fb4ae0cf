"""The receiver's end of the control channel: pings, clock offset, liveness, announcements and states."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel

from model.errors import BitstreamError
from server.rate_limit import RateLimit
from server.receiver.clock_sync import ClockSync
from server.wire.control import (
    NeedSource,
    Ping,
    Pong,
    ReceiverStatistics,
    SenderStages,
    SenderState,
    SourceAnnouncement,
    parse_control,
    send_control,
)
from server.wire.ping_rhythm import PingRhythm

_STEADY_EVERY = 5
"""Ticks for one ping while the peer is heard."""

_log = logging.getLogger(__name__)


class ControlSession:
    """One channel at a time; a new one replaces the old. Belongs to one event loop."""

    def __init__(
        self,
        clock: Callable[[], float],
        announced: Callable[[int, str], bool],
        gone: Callable[[], None],
        gone_after: float,
        awake: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._awake = awake  # stands still while this process does
        self._announced = announced  # (index, SHA-256) -> False when the image must be uploaded
        self._gone = gone
        self._gone_after = gone_after
        self._channel: RTCDataChannel | None = None
        self._limit = RateLimit(50.0, 100.0)
        self._heard: float | None = None  # when the peer sent something last, by `awake`
        self._is_gone = False
        self._pings = 0
        self._rhythm = PingRhythm(_STEADY_EVERY)
        self.tells = False  # whether the last tick had a ping
        self.sync = ClockSync()
        self.paused = False
        self.sender_stages: dict[str, float] = {}  # median seconds, as the sender reports them
        self.malformed = 0

    def attach(self, channel: RTCDataChannel) -> None:
        """Talk on this channel from now on."""
        self.detach()
        self._channel = channel
        self._heard, self._is_gone, self.paused = self._awake(), False, False
        self.sync = ClockSync()
        self._rhythm = PingRhythm(_STEADY_EVERY)
        channel.on("message", self._on_message)

    def detach(self) -> None:
        """Stop listening; idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None and self._on_message in channel.listeners("message"):
            channel.remove_listener("message", self._on_message)

    def heard(self) -> None:
        """Something came from the peer on another channel."""
        self._heard = self._awake()

    def tick(self, now: float) -> None:
        """Once a second: ping where one is due, and notice a peer from which nothing has come, motion included."""
        if self._channel is None or self._heard is None:
            return
        silence = self._awake() - self._heard
        self.tells = self._rhythm.due(silence)
        if self.tells:
            self._pings += 1
            send_control(self._channel, Ping(self._pings, 1000 * now))
        if silence >= self._gone_after and not self._is_gone:
            self._is_gone = True
            self._gone()

    def report(self, statistics: ReceiverStatistics) -> None:
        """Send the receiver's figures to the sender, with every ping."""
        if self.tells:
            send_control(self._channel, statistics)

    def captured_at(self, capture_ms: int, now: float) -> float | None:
        """A capture time of the sender's clock, milliseconds, in seconds of the receiver's clock.

        None before the two clocks are related.
        """
        age = self.sync.age(capture_ms, now)
        return None if age is None else now - age

    def _on_message(self, data: Any) -> None:
        now = self._clock()
        if not self._limit.admit(now):
            self.malformed += 1
            return
        try:
            message = parse_control(data)
        except BitstreamError as error:
            self.malformed += 1
            _log.debug("control message refused: %s", error)
            return
        self._heard = self._awake()
        match message:
            case Ping(n, sent_ms):
                send_control(self._channel, Pong(n, sent_ms, 1000 * self._clock()))
            case Pong(ms=sent_ms, peer_ms=peer_ms):
                self.sync.add(sent_ms / 1000, now, peer_ms / 1000)
            case SourceAnnouncement(index=index, sha256=sha256):
                if not self._announced(index, sha256):
                    send_control(self._channel, NeedSource(sha256))
            case SenderState(paused=paused):
                self.paused = paused
            case SenderStages(milliseconds=milliseconds):
                self.sender_stages = {name: value / 1000 for name, value in milliseconds.items()}
            case _:
                pass  # of a later version, or what only a receiver says
