"""Messages of the data channel `motion`: their bytes, and nothing else (docs/protocol.md, "Motion messages").

Big-endian throughout. The first byte holds the version (high four bits) and the kind (low four bits).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from model.codec.quantise import MAX_STEP_INDEX, MIN_STEP_INDEX
from model.errors import BitstreamError

VERSION = 3
KIND_MOTION = 1
KIND_ACKNOWLEDGEMENT = 2
KIND_REFRESH = 3

MAX_MESSAGE_BYTES = 1100
"""A message stays under the usual path MTU with all headers, so it is never fragmented."""

MAX_FRAMES = 32
MAX_REFERENCE_DISTANCE = 255

_MOTION = struct.Struct("!BBHHBbBI")
_ACKNOWLEDGEMENT = struct.Struct("!BHHI")
_REFRESH = struct.Struct("!BHH")

MOTION_HEADER_BYTES = _MOTION.size


@dataclass(frozen=True)
class MotionMessage:
    """Consecutive frames of motion. The first is predicted from an older frame or from nothing, each other from the one
    before it in the message.
    """

    source: int  # 0 ... 255, index of the sender's source image that these frames drive
    epoch: int  # 0 ... 65535, drawn anew by each encoder: another epoch means another encoder
    sequence: int  # 0 ... 65535, number of the first frame; wraps
    reference: int  # 1 ... 255 frames back from the first frame; 0: the first frame is an intra frame
    step_index: int  # -24 ... 24, quantiser step (quantise.py)
    frames: int  # 1 ... 32
    capture_ms: int  # uint32, capture time of the first frame on the sender's clock; wraps
    payload: bytes  # range-coded levels and capture intervals (frame_coding.py)

    @staticmethod
    def parse(data: bytes) -> MotionMessage:
        """Raises BitstreamError when a field is out of range."""
        if not MOTION_HEADER_BYTES <= len(data) <= MAX_MESSAGE_BYTES:
            raise BitstreamError(f"a motion message cannot have {len(data)} bytes")
        first, source, epoch, sequence, reference, step_index, frames, capture_ms = _MOTION.unpack_from(data)
        if first != VERSION << 4 | KIND_MOTION:
            raise BitstreamError(f"not a motion message of version {VERSION} (first byte {first:#04x})")
        if not 1 <= frames <= MAX_FRAMES:
            raise BitstreamError(f"a motion message cannot hold {frames} frames")
        if not MIN_STEP_INDEX <= step_index <= MAX_STEP_INDEX:
            raise BitstreamError(f"step index {step_index} is out of range")
        payload = data[MOTION_HEADER_BYTES:]
        return MotionMessage(source, epoch, sequence, reference, step_index, frames, capture_ms, payload)

    def serialize(self) -> bytes:
        """The bytes of this message; `parse` gives it back."""
        header = _MOTION.pack(
            VERSION << 4 | KIND_MOTION,
            self.source,
            self.epoch,
            self.sequence,
            self.reference,
            self.step_index,
            self.frames,
            self.capture_ms,
        )
        return header + self.payload


@dataclass(frozen=True)
class Acknowledgement:
    """What a decoder holds and the encoder may predict from."""

    epoch: int
    sequence: int  # the newest frame that was decoded
    received: int  # 32 bits: bit i is set when frame sequence - 1 - i was decoded too

    @staticmethod
    def parse(data: bytes) -> Acknowledgement:
        """Raises BitstreamError when this is not an acknowledgement."""
        if len(data) != _ACKNOWLEDGEMENT.size or data[0] != VERSION << 4 | KIND_ACKNOWLEDGEMENT:
            raise BitstreamError("not a motion acknowledgement")
        _, epoch, sequence, received = _ACKNOWLEDGEMENT.unpack(data)
        return Acknowledgement(epoch, sequence, received)

    def serialize(self) -> bytes:
        """The nine bytes of this message."""
        return _ACKNOWLEDGEMENT.pack(VERSION << 4 | KIND_ACKNOWLEDGEMENT, self.epoch, self.sequence, self.received)


@dataclass(frozen=True)
class RefreshRequest:
    """A decoder cannot decode because it lacks the reference: the next message must begin with an intra frame."""

    epoch: int
    sequence: int  # the frame that could not be decoded

    @staticmethod
    def parse(data: bytes) -> RefreshRequest:
        """Raises BitstreamError when this is not a refresh request."""
        if len(data) != _REFRESH.size or data[0] != VERSION << 4 | KIND_REFRESH:
            raise BitstreamError("not a motion refresh request")
        _, epoch, sequence = _REFRESH.unpack(data)
        return RefreshRequest(epoch, sequence)

    def serialize(self) -> bytes:
        """The five bytes of this message."""
        return _REFRESH.pack(VERSION << 4 | KIND_REFRESH, self.epoch, self.sequence)


def parse_message(data: bytes) -> MotionMessage | Acknowledgement | RefreshRequest:
    """Any message of the channel. Raises BitstreamError."""
    if not data:
        raise BitstreamError("an empty motion message")
    kind = data[0] & 0x0F
    if data[0] >> 4 != VERSION:
        raise BitstreamError(f"motion message of version {data[0] >> 4}, this is version {VERSION}")
    if kind == KIND_MOTION:
        return MotionMessage.parse(data)
    if kind == KIND_ACKNOWLEDGEMENT:
        return Acknowledgement.parse(data)
    if kind == KIND_REFRESH:
        return RefreshRequest.parse(data)
    raise BitstreamError(f"unknown kind of motion message ({kind})")


def sequence_distance(later: int, earlier: int) -> int:
    """Later - earlier of wrapping 16-bit numbers, -32768 ... 32767 (serial number arithmetic, RFC 1982)."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000
