"""Motion frames onto the data channel: encode, gate on what the channel still holds, count what goes over the wire."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.codec.rate import HEADER_BYTES
from model.errors import BitstreamError
from server.rate_window import RateWindow
from server.sender.media.samples import MotionSample
from server.wire.channel import DataChannel

logger = logging.getLogger(__name__)

RATE_WINDOW, LEAST_WINDOW = 2.0, 0.5
"""Seconds over which rates are taken."""

STILL_BUFFERED = 0
"""Bytes that the channel may hold when a frame is encoded. More, and the frame waits: what is encoded goes out now."""


class Encoder(Protocol):
    """What is used of `model.codec` MotionEncoder."""

    def encode(self, vector: NDArray[np.float32], capture_ms: int, source: int) -> bytes | None: ...
    def flush(self) -> bytes | None: ...
    def on_acknowledgement(self, message: bytes) -> None: ...


class MotionPublisher:
    """One connection's motion stream. The encoder is fresh: a new connection's decoder knows no references.

    At most one frame waits; a newer one replaces it and counts as dropped.
    """

    def __init__(self, encoder: Encoder, channel: DataChannel) -> None:
        self._encoder = encoder
        self._channel = channel
        self._waiting: MotionSample | None = None
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
        """Send a frame now, or keep it while the channel is behind."""
        if self._channel.readyState != "open":
            self.dropped += 1
        elif self._channel.bufferedAmount > STILL_BUFFERED:
            self.dropped += self._waiting is not None
            self._waiting = sample
        else:
            self.dropped += self._waiting is not None
            self._waiting = None
            self._send(sample, now)

    def drained(self, now: float) -> None:
        """The channel's buffer ran empty: what waited goes out."""
        sample, self._waiting = self._waiting, None
        if sample is not None:
            self.publish(sample, now)

    def pause(self, now: float) -> None:
        """No frames for a while: send what the encoder still bundles."""
        self._waiting = None
        if self._channel.readyState == "open":
            self._transmit(self._encoder.flush(), now)

    def receive(self, message: bytes | str) -> None:
        """A message came down the motion channel: an acknowledgement, or nothing we know."""
        try:
            if isinstance(message, str):
                raise BitstreamError("text on the motion channel")
            self._encoder.on_acknowledgement(message)
        except BitstreamError as error:
            self.malformed += 1
            logger.debug("motion channel: %s", error)

    def _send(self, sample: MotionSample, now: float) -> None:
        self.frames += 1
        self.pace.add(1, now)
        capture_ms = int(1000 * sample.captured) & 0xFFFFFFFF  # uint32 on the wire, wraps after 49 days
        self._transmit(self._encoder.encode(sample.vector, capture_ms, sample.source), now)

    def _transmit(self, message: bytes | None, now: float) -> None:
        if message is None:
            return
        self._channel.send(message)
        self.payload.add(len(message), now)
        self.wire.add(len(message) + HEADER_BYTES, now)
