"""Motion frames on their way: behind the packets of the voice, or on the data channel; and what they cost there.

While the voice brings a packet every 60 ms, frames wait for the next one and travel behind it (`take_trailer`): that
costs no header. Without a voice, or when it stalls, they take the data channel as soon as it is empty. How many, and
how precise, `rate_control.py` says; from here it learns how long the way is: each acknowledgement names the frame that
it answers at once.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.codec.packet import Acknowledgement, MotionMessage, parse_message
from model.codec.rate import HEADER_BYTES, Rate
from model.errors import BitstreamError
from server.rate_window import RateWindow
from server.sender.connection.rate_control import PIECE_SECONDS, RateControl
from server.sender.media.samples import MotionSample
from server.sender.media.voice_order import PACKET_PIECES
from server.wire.channel import DataChannel
from server.wire.voice_trailer import MAX_TRAILER

logger = logging.getLogger(__name__)

RATE_WINDOW, LEAST_WINDOW = 2.0, 0.5
"""Seconds over which rates are taken."""

STILL_BUFFERED = 0
"""Bytes that the channel may hold when a frame is encoded. More, and the frame waits: what is encoded goes out now."""

VOICE_STALLED = 0.04
"""Seconds after which a packet of the voice that was due is not waited for."""

LONGEST_WAIT = 0.02
"""Seconds that the oldest frame waits for a packet of the voice when it is late; then all take the data channel."""

SILENT_WAIT = 0.05
"""Seconds that the oldest frame waits before it is worth a packet of silence: two frames share it at 25 a second."""

UNANSWERED = 256
"""Messages whose time of leaving is remembered; an answer to an older one tells nothing."""


class Encoder(Protocol):
    """What is used of `model.codec` MotionEncoder."""

    rate: Rate

    @property
    def loss(self) -> float: ...
    def encode(self, vector: NDArray[np.float32], capture_ms: int, source: int) -> bytes | None: ...
    def flush(self) -> bytes | None: ...
    def on_acknowledgement(self, message: bytes) -> None: ...


class MotionPublisher:
    """One connection's motion stream. The encoder is fresh: a new connection's decoder knows no references.

    On the data channel at most one frame waits; a newer one replaces it and counts as dropped.
    """

    def __init__(self, encoder: Encoder, channel: DataChannel, control: RateControl) -> None:
        self._encoder = encoder
        self._channel = channel
        self._control = control
        self._left: dict[int, float] = {}  # when the message whose newest frame has this number left, seconds
        self._waiting: MotionSample | None = None
        self._oldest: float | None = None  # since when encoded frames wait for the voice, seconds
        self._count = 0  # of these frames
        self._voice = float("-inf")  # when the voice could last take something along, seconds
        self.trailers = False
        """Whether the receiver takes motion behind the voice: negotiated."""
        self.frames = 0
        """Frames given to the encoder."""
        self.dropped = 0
        self.malformed = 0
        """Messages from the receiver that were no acknowledgement."""
        self.payload = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """Bytes."""
        self.wire = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """With the headers of each message; what comes back (SACKs, acknowledgements) is not in it."""
        self.pace = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """Frames."""

    def publish(self, sample: MotionSample, now: float) -> None:
        """Send a frame now, or keep it while the channel is behind, or until the voice takes it along."""
        if self._channel.readyState != "open":
            self.dropped += 1
        elif self._rides(now):
            self._waiting = None
            self._use(self._control.decision.riding)
            message = self._encode(sample, now)
            if message is not None:  # of frames before: for another source image, or too long
                self._transmit(message, now)
                self._oldest, self._count = None, 0
            self._oldest = now if self._oldest is None else self._oldest
            self._count += 1
            if now - self._oldest >= self._voice_interval + LONGEST_WAIT:
                self._release(now)
        elif self._channel.bufferedAmount > STILL_BUFFERED:
            self.dropped += self._waiting is not None
            self._waiting = sample
        else:
            self.dropped += self._waiting is not None
            self._waiting = None
            self._release(now)
            self._use(self._control.decision.channel)
            self._transmit(self._encode(sample, now), now)

    def take_trailer(self, now: float) -> bytes:
        """What waits, to travel behind a packet of the voice that leaves now: at most `MAX_TRAILER` bytes."""
        self._voice = now
        if self._oldest is None:
            return b""
        self._oldest, self._count = None, 0
        message = self._encoder.flush()
        if message is None:
            return b""
        if len(message) > MAX_TRAILER:
            self._transmit(message, now)
            return b""
        self._count_out(message, 0, now)
        return message

    def wants_packet(self, now: float) -> bool:
        """Whether what waits is worth a packet of silence now. To be asked while the voice pauses."""
        self._voice = now
        return self._oldest is not None and (self._count > 1 or now - self._oldest >= SILENT_WAIT)

    def carried_alone(self, header_bytes: int, now: float) -> None:
        """A packet left for the sake of motion alone: its headers are motion's."""
        self.wire.add(header_bytes, now)

    def drained(self, now: float) -> None:
        """The channel's buffer ran empty: what waited goes out."""
        sample, self._waiting = self._waiting, None
        if sample is not None:
            self.publish(sample, now)

    def pause(self, now: float) -> None:
        """No frames for a while: send what the encoder still bundles."""
        self._waiting = None
        if self._channel.readyState == "open":
            self._oldest, self._count = None, 0
            self._transmit(self._encoder.flush(), now)

    def receive(self, message: bytes | str, now: float) -> None:
        """A message came from the receiver: an acknowledgement, or nothing we know."""
        try:
            if isinstance(message, str):
                raise BitstreamError("text on the motion channel")
            self._encoder.on_acknowledgement(message)
            answer = parse_message(message)
        except BitstreamError as error:
            self.malformed += 1
            logger.debug("motion channel: %s", error)
            return
        if isinstance(answer, Acknowledgement):
            if not self.trailers:
                self._control.lost(self._encoder.loss)  # nothing else tells it
            self._control.motion_rate(8e-3 * self.payload.rate(now))
            left = self._left.pop(answer.sequence, None)
            if left is not None:
                self._control.measured(now - left, now)

    def _rides(self, now: float) -> bool:
        return self.trailers and now - self._voice <= self._voice_interval + VOICE_STALLED

    @property
    def _voice_interval(self) -> float:
        """Seconds between packets of the voice; one that is recorded keeps to its own."""
        return max(self._control.decision.voice.pieces, PACKET_PIECES) * PIECE_SECONDS

    def _use(self, rate: Rate) -> None:
        if self._encoder.rate != rate:
            self._encoder.rate = rate

    def _release(self, now: float) -> None:
        """What waits for the voice takes the data channel."""
        if self._oldest is not None:
            self._oldest, self._count = None, 0
            self._transmit(self._encoder.flush(), now)

    def _encode(self, sample: MotionSample, now: float) -> bytes | None:
        self.frames += 1
        self.pace.add(1, now)
        capture_ms = int(1000 * sample.captured) & 0xFFFFFFFF  # uint32 on the wire, wraps after 49 days
        return self._encoder.encode(sample.vector, capture_ms, sample.source)

    def _transmit(self, message: bytes | None, now: float) -> None:
        if message is None:
            return
        self._channel.send(message)
        self._count_out(message, HEADER_BYTES, now)
        self._control.sent(len(message) + HEADER_BYTES, now)

    def _count_out(self, message: bytes, header_bytes: int, now: float) -> None:
        self.payload.add(len(message), now)
        self.wire.add(len(message) + header_bytes, now)
        with suppress(BitstreamError):
            sent = MotionMessage.parse(message)
            self._left[(sent.sequence + sent.frames - 1) & 0xFFFF] = now
            if len(self._left) > UNANSWERED:
                del self._left[next(iter(self._left))]
