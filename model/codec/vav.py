"""The `.vav` container: a recorded talking head (docs/protocol.md, "The .vav container").

    file  = magic, block ...
    block = type (4 ASCII letters), length (u32), payload, CRC-32 of type and payload (u32)

HEAD comes first, SRCE next, each followed by its mouth windows, then MOTN and OPUS by time, ENDS last. A block of
unknown type is skipped where the type begins with a small letter. A file without ENDS was cut; what came before the
cut is good.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from model.codec.mouth_window import MAX_WINDOW_BYTES, MAX_WINDOWS
from model.codec.packet import MAX_MESSAGE_BYTES, MotionMessage
from model.codec.source_image import MAX_SOURCE_BYTES
from model.errors import BitstreamError, InputError

MAGIC = b"\x89VAV\r\n\x1a\n"
"""As in PNG: the high bit and the line ends show a transfer that took the file for text."""

VERSION = 1
AUDIO_RATE = 48_000

MAX_FILE_BYTES = 512 << 20
MAX_SOURCES = 16
MAX_AUDIO_BLOCK_BYTES = 1 << 18
_LIMITS = {
    b"HEAD": 512,
    b"SRCE": MAX_SOURCE_BYTES + 1,
    b"mout": MAX_WINDOW_BYTES + 1,
    b"MOTN": MAX_MESSAGE_BYTES,
    b"OPUS": MAX_AUDIO_BLOCK_BYTES,
    b"ENDS": 8,
}

MAX_UNKNOWN_BYTES = 1 << 16
"""Of a block of unknown type that may be skipped."""

_BLOCK = struct.Struct("!4sI")
_CRC = struct.Struct("!I")
_HEAD = struct.Struct("!HH32sIIIIfffBH")
_ENDS = struct.Struct("!II")
_AUDIO = struct.Struct("!qH")
_AUDIO_PACKET = struct.Struct("!HH")


@dataclass(frozen=True)
class VavHeader:
    """What the file was made from and with."""

    profile: str  # name of the model profile, 1 ... 64 ASCII characters
    keypoints: int  # K
    size: int  # side of the coded crop, pixels
    weights: bytes  # SHA-256 of the weights file, 32 bytes
    rate: Fraction | None  # constant frame rate: frame i is shown at i / rate; None: at its capture time
    frame_width: int  # of the video that was encoded, pixels
    frame_height: int
    crop_x: float  # centre and side of the coded crop in that video, pixels
    crop_y: float
    crop_side: float
    audio_channels: int = 0  # 0: no sound, else 1 or 2
    audio_pre_skip: int = 0  # samples at 48 kHz to drop from the start of the decoded sound (RFC 7845, section 4.2)

    def serialize(self) -> bytes:
        """Payload of the HEAD block."""
        name = self.profile.encode("ascii")
        rate = self.rate
        return (
            bytes([VERSION, len(name)])
            + name
            + _HEAD.pack(
                self.keypoints,
                self.size,
                self.weights,
                rate.numerator if rate else 0,
                rate.denominator if rate else 0,
                self.frame_width,
                self.frame_height,
                self.crop_x,
                self.crop_y,
                self.crop_side,
                self.audio_channels,
                self.audio_pre_skip,
            )
        )

    @staticmethod
    def parse(data: bytes) -> VavHeader:
        """Raises BitstreamError."""
        if len(data) < 2 or data[0] != VERSION:
            raise BitstreamError(f"a .vav file of version {data[0] if data else '?'}; this is version {VERSION}")
        length = data[1]
        if not 1 <= length <= 64 or len(data) != 2 + length + _HEAD.size or not data[2 : 2 + length].isascii():
            raise BitstreamError("damaged .vav header")
        keypoints, size, weights, numerator, denominator, *rest = _HEAD.unpack_from(data, 2 + length)
        width, height, x, y, side, channels, pre_skip = rest
        if bool(numerator) != bool(denominator) or channels > 2 or not keypoints or not size:
            raise BitstreamError("damaged .vav header")
        if not all(math.isfinite(v) for v in (x, y, side)):
            raise BitstreamError("damaged .vav header")
        rate = Fraction(numerator, denominator) if numerator else None
        profile = data[2 : 2 + length].decode("ascii")
        return VavHeader(profile, keypoints, size, weights, rate, width, height, x, y, side, channels, pre_skip)


@dataclass(frozen=True)
class AudioPacket:
    """One Opus packet (RFC 6716)."""

    start: int  # samples at 48 kHz after the first frame; may be negative by less than a packet
    duration: int  # samples
    data: bytes


@dataclass
class Vav:
    """A file as read."""

    header: VavHeader
    sources: dict[int, bytes] = field(default_factory=dict)  # image bytes by source index
    windows: dict[int, list[bytes]] = field(default_factory=dict)  # mouth windows by source index
    messages: list[bytes] = field(default_factory=list)  # motion messages in order
    audio: list[AudioPacket] = field(default_factory=list)
    frames: int = 0
    duration_ms: int | None = None  # None: the file was cut
    audio_bytes: int = 0
    file_bytes: int = 0

    @property
    def complete(self) -> bool:
        """Whether the file has its end."""
        return self.duration_ms is not None

    @property
    def motion_bytes(self) -> int:
        """Bytes of all motion messages, headers of the messages included, of the blocks not."""
        return sum(map(len, self.messages))

    @property
    def source_bytes(self) -> int:
        """Bytes of all source images."""
        return sum(map(len, self.sources.values()))

    @property
    def window_bytes(self) -> int:
        """Bytes of all mouth windows."""
        return sum(len(window) for windows in self.windows.values() for window in windows)

    @property
    def seconds(self) -> float:
        """Length of the picture; of a cut file with variable frame rate, up to its last message."""
        if self.duration_ms is not None:
            return self.duration_ms / 1000
        if self.header.rate is not None:
            return float(self.frames / self.header.rate)
        return MotionMessage.parse(self.messages[-1]).capture_ms / 1000 if self.messages else 0.0


class VavWriter:
    """Writes blocks to a file that the caller puts in place when it is complete (`model.media.atomic_file`)."""

    def __init__(self, path: Path, header: VavHeader) -> None:
        self._file: BinaryIO = path.open("wb")
        self._file.write(MAGIC)
        self._block(b"HEAD", header.serialize())

    def __enter__(self) -> VavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def source(self, index: int, data: bytes) -> None:
        """A source image (0 ... 255), before the first message that names it."""
        self._block(b"SRCE", bytes([index]) + data)

    def window(self, source: int, data: bytes) -> None:
        """A mouth window of the person in a source image that was written before."""
        self._block(b"mout", bytes([source]) + data)

    def motion(self, message: bytes) -> None:
        """The next motion message of a chain encoder."""
        self._block(b"MOTN", message)

    def audio(self, packets: Sequence[AudioPacket]) -> None:
        """Contiguous Opus packets, a second or so."""
        if packets:
            parts = [_AUDIO_PACKET.pack(packet.duration, len(packet.data)) + packet.data for packet in packets]
            self._block(b"OPUS", _AUDIO.pack(packets[0].start, len(packets)) + b"".join(parts))

    def end(self, frames: int, duration_ms: int) -> None:
        """The last block."""
        self._block(b"ENDS", _ENDS.pack(frames, duration_ms))

    def _block(self, kind: bytes, payload: bytes) -> None:
        if len(payload) > _LIMITS[kind]:
            raise InputError(f"a {kind.decode()} block of {len(payload)} bytes; at most {_LIMITS[kind]} are allowed")
        crc = zlib.crc32(payload, zlib.crc32(kind))
        self._file.write(_BLOCK.pack(kind, len(payload)) + payload + _CRC.pack(crc))


def read_vav(path: Path) -> Vav:
    """Read a file; one that was cut is read up to the cut.

    Raises InputError when it cannot be opened, BitstreamError when it is no `.vav` file, is damaged, or was cut before
    its source image.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BitstreamError(f"{path}: {size} bytes are more than a .vav file may have ({MAX_FILE_BYTES})")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return parse_vav(data)
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from None


def parse_vav(data: bytes) -> Vav:
    """The bytes of a file. Raises BitstreamError, as `read_vav`."""
    if not data.startswith(MAGIC):
        raise BitstreamError("not a .vav file")
    blocks = _blocks(data)
    kind, payload = next(blocks, (b"", b""))
    if kind != b"HEAD":
        raise BitstreamError("cut before the end of its header")
    vav = Vav(VavHeader.parse(payload), file_bytes=len(data))
    for kind, payload in blocks:
        if vav.complete or kind == b"HEAD":
            raise BitstreamError(f"a {kind.decode()} block where none belongs")
        if kind == b"SRCE":
            if len(payload) < 2 or payload[0] in vav.sources or len(vav.sources) >= MAX_SOURCES:
                raise BitstreamError("a source image that is empty, double or one too many")
            vav.sources[payload[0]] = payload[1:]
        elif kind == b"mout":
            beside = vav.windows.setdefault(payload[0], []) if payload else []
            if len(payload) < 2 or payload[0] not in vav.sources or len(beside) >= MAX_WINDOWS:
                raise BitstreamError("a mouth window that is empty, one too many, or without its source image")
            beside.append(payload[1:])
        elif kind == b"MOTN":
            message = MotionMessage.parse(payload)
            if message.source not in vav.sources:
                raise BitstreamError(f"motion for source image {message.source}, which the file lacks")
            vav.messages.append(payload)
            vav.frames += message.frames
        elif kind == b"OPUS":
            vav.audio_bytes += len(payload)
            vav.audio.extend(_audio_packets(payload))
        else:
            vav.duration_ms = _end(payload, vav.frames)
    if not vav.sources:
        raise BitstreamError("cut before the end of its source image")
    return vav


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of each complete block that is known; ends silently where the data was cut."""
    position = len(MAGIC)
    while position + _BLOCK.size <= len(data):
        kind, length = _BLOCK.unpack_from(data, position)
        optional = kind.isalpha() and kind[:1].islower()
        if kind not in _LIMITS and not optional:
            raise BitstreamError(f"unknown block at byte {position}")
        if length > _LIMITS.get(kind, MAX_UNKNOWN_BYTES):
            raise BitstreamError(f"{kind.decode()} block at byte {position} is too long ({length} bytes)")
        start = position + _BLOCK.size
        end = start + length
        if end + _CRC.size > len(data):
            return
        payload = data[start:end]
        if zlib.crc32(payload, zlib.crc32(kind)) != _CRC.unpack_from(data, end)[0]:
            raise BitstreamError(f"{kind.decode()} block at byte {position} is damaged (wrong checksum)")
        if kind in _LIMITS:
            yield kind, payload
        position = end + _CRC.size


def _audio_packets(payload: bytes) -> Iterator[AudioPacket]:
    if len(payload) < _AUDIO.size:
        raise BitstreamError("damaged OPUS block")
    start, count = _AUDIO.unpack_from(payload)
    position = _AUDIO.size
    for _ in range(count):
        if position + _AUDIO_PACKET.size > len(payload):
            raise BitstreamError("damaged OPUS block")
        duration, length = _AUDIO_PACKET.unpack_from(payload, position)
        position += _AUDIO_PACKET.size
        if not length or position + length > len(payload):
            raise BitstreamError("damaged OPUS block")
        yield AudioPacket(start, duration, payload[position : position + length])
        position += length
        start += duration
    if position != len(payload):
        raise BitstreamError("damaged OPUS block")


def _end(payload: bytes, frames: int) -> int:
    if len(payload) != _ENDS.size:
        raise BitstreamError("damaged ENDS block")
    expected, duration_ms = _ENDS.unpack(payload)
    if expected != frames:
        raise BitstreamError(f"{frames} frames where {expected} belong")
    return int(duration_ms)
