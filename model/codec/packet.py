"""Messages of motion: their bytes, and nothing else (docs/protocol.md, "Motion messages").

Big-endian throughout. The first byte holds the version (high four bits) and the kind (low four bits). Two kinds carry
motion. One stands alone and has its own capture time; the other, of a few bytes, tells how it differs from the frame
that it is predicted from. What is nearly always the same goes through the range coder, in front of the frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from model.codec.entropy import RangeDecoder, RangeEncoder, cumulative, decode_laplace, encode_laplace
from model.codec.quantise import MAX_STEP_INDEX, MIN_STEP_INDEX
from model.errors import BitstreamError

VERSION = 4
KIND_MOTION = 1
KIND_ACKNOWLEDGEMENT = 2
KIND_REFRESH = 3
KIND_SHORT_MOTION = 4

MAX_MESSAGE_BYTES = 1100
"""A message stays under the usual path MTU with all headers, so it is never fragmented."""

MAX_FRAMES = 32
MAX_REFERENCE_DISTANCE = 255

MAX_INTERVAL_MS = 65535
"""Longest time between the captures of two frames in a message, and of a frame and its reference where the message has
no capture time of its own."""

_MOTION = struct.Struct("!BHHI")
_SHORT_MOTION = struct.Struct("!BBH")
_ACKNOWLEDGEMENT = struct.Struct("!BHHI")
_REFRESH = struct.Struct("!BBH")

MOTION_HEADER_BYTES = _MOTION.size + 3
SHORT_HEADER_BYTES = 6
"""The most that both kinds' headers take, as long as what the range coder has of them is usual."""

_FRAMES = cumulative([40_013, 16_000, 3_000, 1_500, 1_000, *[149] * 27])
"""A message of a call has one frame, or two."""

_INHERITED = cumulative([60_000, 4_000, 1_000, 536])
"""Bit 0: the step is not the reference's; bit 1: the source image is not."""

_STEP_BITS, _SOURCE_BITS, _REFERENCE_BITS = 6, 8, 8
_USUAL_DISTANCE, _DISTANCE_WIDTH = 6, 24
_USUAL_INTERVAL_MS, _ELAPSED_WIDTH = 36, 37  # between 25 and 30 frames a second


@dataclass(frozen=True)
class MotionMessage:
    """Consecutive frames of motion, without their levels. The first is predicted from an older frame or from nothing,
    each other from the one before it in the message.
    """

    epoch: int  # 0 ... 65535, drawn anew by each encoder; of a short message, the low eight bits
    sequence: int  # 0 ... 65535, number of the first frame; wraps
    reference: int  # 1 ... 255 frames back from the first frame; 0: the first frame is an intra frame
    frames: int  # 1 ... 32
    source: int | None  # 0 ... 255, the sender's source image that these frames drive; None: the reference's
    step_index: int | None  # -24 ... 24, quantiser step (quantise.py); None: the reference's
    capture_ms: int | None  # uint32, of the first frame on the sender's clock; wraps; None: a short message
    elapsed_ms: int | None = None  # 0 ... 65535 since the reference's capture, of a short message

    @property
    def short(self) -> bool:
        """Whether this message is read by means of its reference."""
        return self.capture_ms is None

    @staticmethod
    def parse(data: bytes) -> MotionMessage:
        """Raises BitstreamError when a field is out of range."""
        return MotionMessage.open(data)[0]

    @staticmethod
    def open(data: bytes, reader: type[RangeDecoder] = RangeDecoder) -> tuple[MotionMessage, RangeDecoder]:
        """A message and the `reader` that its frames are to be read from. Raises BitstreamError when a field is out of
        range.
        """
        kind = data[0] if data else 0
        short = kind == VERSION << 4 | KIND_SHORT_MOTION
        if not short and kind != VERSION << 4 | KIND_MOTION:
            raise BitstreamError(f"not a motion message of version {VERSION} (first byte {kind:#04x})")
        fields = _SHORT_MOTION if short else _MOTION
        if not fields.size <= len(data) <= MAX_MESSAGE_BYTES:
            raise BitstreamError(f"a motion message cannot have {len(data)} bytes")
        _, epoch, sequence, *capture_ms = fields.unpack_from(data)
        coder = reader(data[fields.size :])
        frames = coder.decode(_FRAMES) + 1
        if not short:
            source, reference = coder.decode_bits(_SOURCE_BITS), coder.decode_bits(_REFERENCE_BITS)
            step_index = _read_step(coder)
            return MotionMessage(epoch, sequence, reference, frames, source, step_index, *capture_ms), coder
        reference = _USUAL_DISTANCE + decode_laplace(coder, _DISTANCE_WIDTH)
        if not 1 <= reference <= MAX_REFERENCE_DISTANCE:
            raise BitstreamError(f"a reference {reference} frames back is out of reach")
        elapsed_ms = _USUAL_INTERVAL_MS * reference + decode_laplace(coder, _ELAPSED_WIDTH)
        if not 0 <= elapsed_ms <= MAX_INTERVAL_MS:
            raise BitstreamError("a reference out of reach in time")
        changed = coder.decode(_INHERITED)
        new_step = _read_step(coder) if changed & 1 else None
        new_source = coder.decode_bits(_SOURCE_BITS) if changed & 2 else None
        return MotionMessage(epoch, sequence, reference, frames, new_source, new_step, None, elapsed_ms), coder

    def write(self, frames: Callable[[RangeEncoder], None]) -> bytes:
        """The bytes of this message; `frames` writes its frames behind what the range coder has of the header."""
        coder = RangeEncoder()
        coder.encode(_FRAMES[self.frames - 1], _FRAMES[self.frames])
        if self.capture_ms is not None:
            assert self.source is not None
            assert self.step_index is not None
            coder.encode_bits(self.source, _SOURCE_BITS)
            coder.encode_bits(self.reference, _REFERENCE_BITS)
            coder.encode_bits(self.step_index - MIN_STEP_INDEX, _STEP_BITS)
            fields = _MOTION.pack(VERSION << 4 | KIND_MOTION, self.epoch, self.sequence, self.capture_ms)
        else:
            assert self.elapsed_ms is not None
            encode_laplace(coder, self.reference - _USUAL_DISTANCE, _DISTANCE_WIDTH)
            encode_laplace(coder, self.elapsed_ms - _USUAL_INTERVAL_MS * self.reference, _ELAPSED_WIDTH)
            changed = (self.step_index is not None) | (self.source is not None) << 1
            coder.encode(_INHERITED[changed], _INHERITED[changed + 1])
            if self.step_index is not None:
                coder.encode_bits(self.step_index - MIN_STEP_INDEX, _STEP_BITS)
            if self.source is not None:
                coder.encode_bits(self.source, _SOURCE_BITS)
            fields = _SHORT_MOTION.pack(VERSION << 4 | KIND_SHORT_MOTION, self.epoch & 0xFF, self.sequence)
        frames(coder)
        return fields + coder.finish()


def _read_step(coder: RangeDecoder) -> int:
    step_index = coder.decode_bits(_STEP_BITS) + MIN_STEP_INDEX
    if step_index > MAX_STEP_INDEX:
        raise BitstreamError(f"step index {step_index} is out of range")
    return step_index


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
    """A decoder lacks a reference: the next message begins with an intra frame, or with one that is predicted from what
    was acknowledged where only the message before may be lost.
    """

    epoch: int  # 0 ... 255, the low eight bits: more is not known where only short messages came
    sequence: int  # the frame that could not be decoded; one that nobody remembers where none was lost

    @staticmethod
    def parse(data: bytes) -> RefreshRequest:
        """Raises BitstreamError when this is not a refresh request."""
        if len(data) != _REFRESH.size or data[0] != VERSION << 4 | KIND_REFRESH:
            raise BitstreamError("not a motion refresh request")
        _, epoch, sequence = _REFRESH.unpack(data)
        return RefreshRequest(epoch, sequence)

    def serialize(self) -> bytes:
        """The four bytes of this message."""
        return _REFRESH.pack(VERSION << 4 | KIND_REFRESH, self.epoch & 0xFF, self.sequence)


def parse_message(data: bytes) -> MotionMessage | Acknowledgement | RefreshRequest:
    """Any message of the channel. Raises BitstreamError."""
    if not data:
        raise BitstreamError("an empty motion message")
    kind = data[0] & 0x0F
    if data[0] >> 4 != VERSION:
        raise BitstreamError(f"motion message of version {data[0] >> 4}, this is version {VERSION}")
    if kind in (KIND_MOTION, KIND_SHORT_MOTION):
        return MotionMessage.parse(data)
    if kind == KIND_ACKNOWLEDGEMENT:
        return Acknowledgement.parse(data)
    if kind == KIND_REFRESH:
        return RefreshRequest.parse(data)
    raise BitstreamError(f"unknown kind of motion message ({kind})")


def sequence_distance(later: int, earlier: int) -> int:
    """Later - earlier of wrapping 16-bit numbers, -32768 ... 32767 (serial number arithmetic, RFC 1982)."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000
