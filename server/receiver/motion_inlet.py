"""Where motion comes in: messages to frames of the playout buffer, and acknowledgements back.

They go back the way that the motion came, or on the data channel where whoever sends reads no answers to its voice.
"""

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
from server.media.media_packet import PacketSource
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

    def intra_request(self) -> bytes | None: ...


class MotionInlet:
    """One channel at a time; a new one replaces the old and brings a new decoder. Belongs to one event loop."""

    def __init__(
        self,
        playout: PlayoutBuffer,
        control: ControlSession,
        clock: Callable[[], float],
        metrics: Observer,
        acknowledge_every: float,
        acknowledge_channel_every: float,
    ) -> None:
        self._playout = playout
        self._control = control
        self._clock = clock
        self._metrics = metrics
        self._acknowledge_every = acknowledge_every  # seconds, over RTCP
        self._acknowledge_channel_every = acknowledge_channel_every  # seconds, where each answer has a SACK
        self._acknowledged = float("-inf")  # when, seconds
        self._channel: RTCDataChannel | None = None
        self._voice: PacketSource | None = None
        self._decoder: Decoder | None = None
        self._limit = RateLimit(MESSAGES_PER_SECOND, 2 * MESSAGES_PER_SECOND)
        self._decode_limit = RateLimit(DECODED_PER_SECOND, 2 * DECODED_PER_SECOND)
        self._frame_limit = RateLimit(FRAMES_PER_SECOND, 2 * FRAMES_PER_SECOND)
        self._bytes = RateWindow(RATE_SECONDS, 1.0)
        self._headers = RateWindow(RATE_SECONDS, 1.0)
        self._frames = RateWindow(RATE_SECONDS, 1.0)
        self._loss = LossMeter()
        self.arrival_age = Percentiles()  # seconds from capture to arrival of frames
        self.malformed = 0
        self.on_accepted: Callable[[bytes, DecodedFrame], bool] | None = None
        """Told each message that brought frames, and its capture time; whether it needs none from before."""
        self._wants_intra = False

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
        """Stop listening to the channel; idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None and self._on_message in channel.listeners("message"):
            channel.remove_listener("message", self._on_message)

    def statistics(self, now: float) -> dict[str, Any]:
        """Rates of the last seconds: payload alone, and with the headers of every message of the channel."""
        payload = self._bytes.rate(now)
        return {
            "kbps_payload": round(payload * 8 / 1000, 2),
            "kbps_wire": round((payload + self._headers.rate(now)) * 8 / 1000, 2),
            "fps_motion": round(self._frames.rate(now), 1),
            "loss_percent": round(self._loss.percent, 2),
            "malformed": self.malformed,
        }

    def attach_voice(self, source: PacketSource) -> None:
        """Take the messages, too, that come behind this sound's packets."""
        self._leave_voice()
        self._voice = source
        source.on_trailer = lambda data: self._on_trailer(data, source)

    def close(self) -> None:
        """Listen to nothing any more; idempotent."""
        self.detach()
        self._leave_voice()

    def _leave_voice(self) -> None:
        source, self._voice = self._voice, None
        if source is not None:
            source.on_trailer = None

    def _on_message(self, data: Any) -> None:
        if self._take(data, HEADER_BYTES):
            self._acknowledge_on_channel()

    def _on_trailer(self, data: bytes, source: PacketSource) -> None:
        if not self._take(data, 0):
            return
        if source.reads_answers:
            self._acknowledge(source.answer_trailer, self._acknowledge_every)
        else:
            self._acknowledge_on_channel()

    def _acknowledge_on_channel(self) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > _MAX_BUFFERED:
            return
        self._acknowledge(channel.send, self._acknowledge_channel_every)

    def _take(self, data: Any, header_bytes: int) -> bool:
        """Decode a message into frames; whether it could be read."""
        now = self._clock()
        decoder = self._decoder
        if decoder is None:
            return False
        if not isinstance(data, bytes) or len(data) > MAX_MESSAGE_BYTES or not self._limit.admit(now):
            self._refuse("too long, too frequent or no bytes")
            return False
        try:
            message = MotionMessage.parse(data)
            if not self._decode_limit.admit(now, message.frames):
                self._refuse("too many frames a second")
                return False
            frames = decoder.decode(data)
        except BitstreamError as error:
            self._refuse(str(error))
            return False
        self._control.heard()
        self._bytes.add(len(data), now)
        self._headers.add(header_bytes, now)
        if frames:
            self._wants_intra = self.on_accepted is not None and not self.on_accepted(data, frames[0])
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
        return True

    def _acknowledge(self, send: Callable[[bytes], None], every: float) -> None:
        now = self._clock()
        if self._decoder is None or now - self._acknowledged < every:
            return
        answer = self._decoder.intra_request() if self._wants_intra else self._decoder.acknowledgement()
        if answer is not None:
            self._acknowledged = now
            send(answer)

    def _refuse(self, reason: str) -> None:
        self.malformed += 1
        self._metrics.frame_dropped("malformed")
        _log.debug("motion message refused: %s", reason)
