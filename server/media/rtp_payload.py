"""What must be known of RTP payloads of VP8 (RFC 7741) and H.264 (RFC 6184) to forward them: where a keyframe begins,
how large its pictures are, and the picture numbers of VP8. Pure; every length is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_H264_IDR, _H264_SPS, _STAP_A, _FU_A = 5, 7, 24, 28
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles whose sequence parameter set says more of chroma and scaling (H.264, 7.3.2.1.1)."""


@dataclass(frozen=True)
class KeyframeStart:
    """Size of the pictures that begin here, in pixels, and the profile_idc of H.264."""

    width: int
    height: int
    profile: int | None = None


def keyframe_start(codec: str, payload: bytes) -> KeyframeStart | None:
    """What begins with this packet, if a keyframe does. Raises ValueError for payloads that cannot be read.

    A keyframe of H.264 begins with its sequence parameter set: without one nobody who joins can decode it.
    """
    if codec == "VP8":
        descriptor = Vp8Descriptor.parse(payload)
        if not descriptor.starts_frame:
            return None
        return vp8_keyframe(payload[descriptor.length :])
    for unit in _h264_units(payload):
        if unit and unit[0] & 0x1F == _H264_SPS:
            return h264_sequence(unit)
    return None


@dataclass(frozen=True, slots=True)
class Vp8Descriptor:
    """The payload descriptor in front of each VP8 payload (RFC 7741 section 4.2)."""

    length: int  # bytes
    starts_frame: bool
    picture_id: int | None = None  # 15 bits; shorter ones are left alone
    picture_id_at: int = 0
    tl0_index: int | None = None  # 8 bits: number of the temporal base layer's picture
    tl0_index_at: int = 0

    @classmethod
    def parse(cls, payload: bytes) -> Vp8Descriptor:
        """Raises ValueError."""
        if not payload:
            raise ValueError("an empty VP8 payload")
        first = payload[0]
        starts = bool(first & 0x10) and first & 0x07 == 0
        if not first & 0x80:
            return cls(1, starts)
        if len(payload) < 2:
            raise ValueError("a truncated VP8 payload descriptor")
        flags, at = payload[1], 2
        picture_id, picture_id_at, tl0_index, tl0_index_at = None, 0, None, 0
        if flags & 0x80:
            if len(payload) < at + 1 + (len(payload) > at and payload[at] >> 7):
                raise ValueError("a truncated VP8 payload descriptor")
            if payload[at] & 0x80:
                picture_id, picture_id_at = int.from_bytes(payload[at : at + 2]) & 0x7FFF, at
                at += 2
            else:
                at += 1
        if flags & 0x40:
            if len(payload) < at + 1:
                raise ValueError("a truncated VP8 payload descriptor")
            tl0_index, tl0_index_at = payload[at], at
            at += 1
        at += bool(flags & 0x30)
        if len(payload) < at:
            raise ValueError("a truncated VP8 payload descriptor")
        return cls(at, starts, picture_id, picture_id_at, tl0_index, tl0_index_at)


class Vp8Numbers:
    """Picture numbers of one outgoing VP8 stream, continuous over changes as `RtpNumbers` are."""

    def __init__(self, picture_id: int) -> None:
        """`picture_id`: of the first picture that will go out, 15 bits."""
        self.next_picture_id = picture_id
        self._next_tl0 = 0
        self._picture_offset = 0
        self._tl0_offset = 0

    def outgoing(self, payload: bytes, restart: bool) -> bytes:
        """The payload with the numbers to send it under. Raises ValueError."""
        descriptor = Vp8Descriptor.parse(payload)
        if descriptor.picture_id is None:
            return payload
        if restart:
            self._picture_offset = self.next_picture_id - descriptor.picture_id
            self._tl0_offset = self._next_tl0 - (descriptor.tl0_index or 0)
        picture_id = (descriptor.picture_id + self._picture_offset) & 0x7FFF
        if (picture_id - self.next_picture_id) & 0x7FFF < 0x4000:
            self.next_picture_id = (picture_id + 1) & 0x7FFF
        changed = bytearray(payload)
        changed[descriptor.picture_id_at : descriptor.picture_id_at + 2] = (picture_id | 0x8000).to_bytes(2)
        if descriptor.tl0_index is not None:
            tl0 = (descriptor.tl0_index + self._tl0_offset) & 0xFF
            if (tl0 - self._next_tl0) & 0xFF < 0x80:
                self._next_tl0 = (tl0 + 1) & 0xFF
            changed[descriptor.tl0_index_at] = tl0
        return bytes(changed)


def vp8_keyframe(data: bytes) -> KeyframeStart | None:
    """The header of a VP8 frame (RFC 6386 section 9.1); None of one that is no keyframe. Raises ValueError."""
    if not data:
        raise ValueError("an empty VP8 frame")
    if data[0] & 1:
        return None
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        raise ValueError("a VP8 keyframe without its start code")
    width, height = int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return KeyframeStart(width, height)


def h264_keyframes(data: bytes) -> Iterator[KeyframeStart]:
    """Every sequence parameter set of a frame in Annex B form. Raises ValueError."""
    for unit in data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01"):
        if unit and unit[0] & 0x1F == _H264_SPS:
            yield h264_sequence(unit)


def _h264_units(payload: bytes) -> Iterator[bytes]:
    """Whole NAL units of a payload. A fragment of a sequence parameter set is refused: its size would be unknown."""
    if not payload:
        raise ValueError("an empty H.264 payload")
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        at = 1
        while at < len(payload):
            size = int.from_bytes(payload[at : at + 2])
            if len(payload) < at + 2 + size:
                raise ValueError("a truncated H.264 aggregation packet")
            yield payload[at + 2 : at + 2 + size]
            at += 2 + size
    elif kind == _FU_A:
        if len(payload) < 2:
            raise ValueError("a truncated H.264 fragment")
        if payload[1] & 0x1F == _H264_SPS:
            raise ValueError("a fragmented sequence parameter set")
    elif 1 <= kind <= 23:
        yield payload
    else:
        raise ValueError(f"an H.264 payload of type {kind}")


class _Bits:
    """Reads bits and Exp-Golomb codes (H.264, 9.1) of a NAL unit without its emulation prevention bytes."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def bits(self, count: int) -> int:
        if count > self._left:
            raise ValueError("a truncated sequence parameter set")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("an Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed(self) -> int:
        code = self.unsigned()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def h264_sequence(unit: bytes) -> KeyframeStart:
    """Picture size of a sequence parameter set (H.264, 7.3.2.1.1), one NAL unit. Raises ValueError."""
    bits = _Bits(unit[1:512].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.bits(8)
    bits.bits(16)  # constraints, level
    bits.unsigned()  # seq_parameter_set_id
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = bits.unsigned()
        if chroma == 3:
            bits.bits(1)
        bits.unsigned(), bits.unsigned()  # bit depths
        bits.bits(1)
        if bits.bits(1):
            for index in range(8 if chroma != 3 else 12):
                if bits.bits(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.unsigned()  # log2_max_frame_num_minus4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.bits(1)
        bits.signed(), bits.signed()
        count = bits.unsigned()
        if count > 255:
            raise ValueError("a sequence parameter set with too long a cycle")
        for _ in range(count):
            bits.signed()
    bits.unsigned()  # max_num_ref_frames
    bits.bits(1)
    width, units = 16 * (bits.unsigned() + 1), bits.unsigned() + 1
    frame_only = bits.bits(1)
    height = 16 * units * (2 - frame_only)
    if not frame_only:
        bits.bits(1)
    bits.bits(1)
    if bits.bits(1):
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        width -= (left + right) * (2 if chroma in (1, 2) else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1) * (2 - frame_only)
    if width < 1 or height < 1:
        raise ValueError("a sequence parameter set of an empty picture")
    return KeyframeStart(width, height, profile)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            scale = (last + bits.signed() + 256) % 256
        last = scale or last
