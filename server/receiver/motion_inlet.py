"""Where motion comes in: messages of the motion channel to frames of the playout buffer, and acknowledgements back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from aiortc import RTCDataChannel

from model.codec.decoder import DecodedFrame
from model.codec.packet import MAX_MESSAGE_BYTES, MotionMessage
from model.codec.rate import HEADER_BYTES
from model.errors import BitstreamError
from model.motion import Motion
from server.rate_limit import RateLimit
from server.rate_window import RateWindow
from server.receiver.control_session import ControlSession
from server.receiver.measures import LossMeter, Percentiles
from server.receiver.observer import Observer
from server.receiver.playout import PlayoutBuffer

_log = logging.getLogger(__name__)

RATE_SECONDS = 3.0
"""Window of all rates that are shown, seconds."""

MESSAGES_PER_SECOND = 120.0
"""Twice the highest frame rate a camera has, one frame a message. Twice as many may come at once."""

DECODED_PER_SECOND = 120.0
"""Frames in messages, repeated ones included: decoding each takes time whether it is new or not."""

FRAMES_PER_SECOND = 60.0
"""New frames; a sender has no use for more."""

_MAX_BUFFERED = 4096
"""Bytes of acknowledgements that may wait; beyond it a newer one follows soon anyway."""


class Decoder(Protocol):
    """What the inlet needs of `model.codec.decoder.MotionDecoder`."""

    def decode(self, data: bytes) -> list[DecodedFrame]: ...

    def acknowledgement(self) -> bytes | None: ...


class MotionInlet:
    """One channel at a time; a new one replaces the old and brings a new decoder. Belongs to one event loop."""

    def __init__(
        self,
        playout: PlayoutBuffer,
        control: ControlSession,
        clock: Callable[[], float],
        metrics: Observer,
        acknowledge_every: float,
    ) -> None:
        self._playout = playout
        self._control = control
        self._clock = clock
        self._metrics = metrics
        self._acknowledge_every = acknowledge_every
        self._acknowledged = float("-inf")  # when, seconds
        self._channel: RTCDataChannel | None = None
        self._decoder: Decoder | None = None
        self._limit = RateLimit(MESSAGES_PER_SECOND, 2 * MESSAGES_PER_SECOND)
        self._decode_limit = RateLimit(DECODED_PER_SECOND, 2 * DECODED_PER_SECOND)
        self._frame_limit = RateLimit(FRAMES_PER_SECOND, 2 * FRAMES_PER_SECOND)
        self._bytes = RateWindow(RATE_SECONDS, 1.0)
        self._messages = RateWindow(RATE_SECONDS, 1.0)
        self._frames = RateWindow(RATE_SECONDS, 1.0)
        self._loss = LossMeter()
        self.arrival_age = Percentiles()  # seconds from capture to arrival of frames
        self.malformed = 0

    @property
    def attached(self) -> bool:
        """Whether a motion channel is or was there."""
        return self._decoder is not None

    def attach(self, channel: RTCDataChannel, decoder: Decoder) -> None:
        """Listen on this channel from now on."""
        self.detach()
        self._channel, self._decoder = channel, decoder
        self._loss.reset()
        channel.on("message", self._on_message)

    def detach(self) -> None:
        """Stop listening; idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None and self._on_message in channel.listeners("message"):
            channel.remove_listener("message", self._on_message)

    def statistics(self, now: float) -> dict[str, Any]:
        """Rates of the last seconds: payload alone, and with the headers of every message."""
        payload = self._bytes.rate(now)
        messages = self._messages.rate(now)
        return {
            "kbps_payload": round(payload * 8 / 1000, 2),
            "kbps_wire": round((payload + messages * HEADER_BYTES) * 8 / 1000, 2),
            "fps_motion": round(self._frames.rate(now), 1),
            "loss_percent": round(self._loss.percent, 2),
            "malformed": self.malformed,
        }

    def _on_message(self, data: Any) -> None:
        now = self._clock()
        decoder = self._decoder
        if decoder is None:
            return
        if not isinstance(data, bytes) or len(data) > MAX_MESSAGE_BYTES or not self._limit.admit(now):
            self._refuse("too long, too frequent or no bytes")
            return
        try:
            if not self._decode_limit.admit(now, MotionMessage.parse(data).frames):
                self._refuse("too many frames a second")
                return
            frames = decoder.decode(data)
        except BitstreamError as error:
            self._refuse(str(error))
            return
        self._control.heard()
        self._bytes.add(len(data), now)
        self._messages.add(1, now)
        for frame in frames:
            if not np.isfinite(frame.vector).all():
                self._refuse("motion that is not finite")
                continue
            if not self._frame_limit.admit(now):
                self._refuse("too many new frames a second")
                continue
            self._frames.add(1, now)
            self._loss.add(frame.sequence)
            age = self._control.sync.age(frame.capture_ms, now)
            if age is not None:
                self.arrival_age.add(age)
            late = self._playout.counters.late
            self._playout.push(frame.capture_ms, Motion.from_vector(frame.vector), frame.source, now)
            if self._playout.counters.late > late:
                self._metrics.frame_dropped("late")
        self._acknowledge(decoder, now)

    def _acknowledge(self, decoder: Decoder, now: float) -> None:
        channel = self._channel
        if now - self._acknowledged < self._acknowledge_every or channel is None:
            return
        if channel.readyState != "open" or channel.bufferedAmount > _MAX_BUFFERED:
            return
        answer = decoder.acknowledgement()
        if answer is not None:
            self._acknowledged = now
            channel.send(answer)

    def _refuse(self, reason: str) -> None:
        self.malformed += 1
        self._metrics.frame_dropped("malformed")
        _log.debug("motion message refused: %s", reason)
