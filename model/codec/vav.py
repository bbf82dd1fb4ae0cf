"""The `.vav` container: a recorded talking head (docs/protocol.md, "The .vav container").

    file  = magic, block ...
    block = type (4 ASCII letters), length (u32), payload, CRC-32 of type and payload (u32)

HEAD comes first, SRCE next, each followed by its windows, then MOTN and OPUS by time, ENDS last. A file without
ENDS was cut; what came before the cut is good. Version 1 holds an encoded film: one chain of messages. Version 2 holds
a call as it came: messages of several encoders, some lost, source images and windows that take the place of
others, and times that count from its start. A block whose type begins with a small letter may be skipped, as PNG has it
of its chunks.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from model.codec.packet import MAX_MESSAGE_BYTES, MotionMessage
from model.codec.source_image import MAX_SOURCE_BYTES
from model.errors import BitstreamError, InputError
from model.window import MAX_WINDOW_BYTES, MAX_WINDOWS

MAGIC = b"\x89VAV\r\n\x1a\n"
"""As in PNG: the high bit and the line ends show a transfer that took the file for text."""

VERSION = 1
"""Of an encoded film."""

LIVE_VERSION = 2
"""Of a recorded call. Later versions add blocks and fields of HEAD that a reader of this one may skip."""

AUDIO_RATE = 48_000

MAX_FILE_BYTES = 512 << 20
MAX_SOURCES = 16
MAX_LIVE_SOURCES = 1024
"""Source images of one participant over a whole call."""

MAX_LIVE_WINDOWS = 1 << 14
"""Windows of one participant over a whole call: more than four hours of uploads without a pause."""

MAX_AUDIO_BLOCK_BYTES = 1 << 18
_LIMITS = {
    b"HEAD": 512,
    b"SRCE": MAX_SOURCE_BYTES + 1,
    b"mout": MAX_WINDOW_BYTES + 1,
    b"MOTN": MAX_MESSAGE_BYTES,
    b"OPUS": MAX_AUDIO_BLOCK_BYTES,
    b"ENDS": 8,
}
_LIVE_LIMITS = _LIMITS | {b"CLOK": 12}
_MAX_SKIPPED = 4 << 20  # bytes of a block that this reader does not know

_BLOCK = struct.Struct("!4sI")
_CRC = struct.Struct("!I")
_HEAD = struct.Struct("!HH32sIIIIfffBH")
_STARTED = struct.Struct("!Q")
_CLOCK = struct.Struct("!Iq")
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
    started_ms: int | None = None  # of a recorded call: Unix time at which its time is 0, milliseconds

    @property
    def live(self) -> bool:
        """Whether the file holds a recorded call (version 2)."""
        return self.started_ms is not None

    def serialize(self) -> bytes:
        """Payload of the HEAD block."""
        name = self.profile.encode("ascii")
        rate = self.rate
        return (
            bytes([LIVE_VERSION if self.live else VERSION, len(name)])
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
            + (b"" if self.started_ms is None else _STARTED.pack(self.started_ms))
        )

    @staticmethod
    def parse(data: bytes) -> VavHeader:
        """Raises BitstreamError."""
        if len(data) < 2 or data[0] not in (VERSION, LIVE_VERSION):
            known = f"versions {VERSION} and {LIVE_VERSION} are read"
            raise BitstreamError(f"a .vav file of version {data[0] if data else '?'}; {known}")
        length, live = data[1], data[0] == LIVE_VERSION
        end = 2 + length + _HEAD.size
        # What a later minor addition puts behind the fields of version 2 is skipped.
        fits = len(data) >= end + _STARTED.size if live else len(data) == end
        if not 1 <= length <= 64 or not fits or not data[2 : 2 + length].isascii():
            raise BitstreamError("damaged .vav header")
        started_ms = _STARTED.unpack_from(data, end)[0] if live else None
        keypoints, size, weights, numerator, denominator, *rest = _HEAD.unpack_from(data, 2 + length)
        width, height, x, y, side, channels, pre_skip = rest
        if bool(numerator) != bool(denominator) or channels > 2 or not keypoints or not size:
            raise BitstreamError("damaged .vav header")
        if not all(math.isfinite(v) for v in (x, y, side)):
            raise BitstreamError("damaged .vav header")
        rate = Fraction(numerator, denominator) if numerator else None
        profile = data[2 : 2 + length].decode("ascii")
        return VavHeader(
            profile, keypoints, size, weights, rate, width, height, x, y, side, channels, pre_skip, started_ms
        )


@dataclass(frozen=True)
class AudioPacket:
    """One Opus packet (RFC 6716)."""

    start: int  # samples at 48 kHz after the first frame; may be negative by less than a packet
    duration: int  # samples
    data: bytes


@dataclass(frozen=True)
class CaptureClock:
    """Where capture times of a call's motion lie: `capture_ms` of the sender's clock is `at_ms` of the recording."""

    capture_ms: int  # uint32
    at_ms: int  # milliseconds after the start of the recording

    def at(self, capture_ms: int) -> int:
        """Milliseconds after the start at which a frame with that capture time is shown."""
        return self.at_ms + ((capture_ms - self.capture_ms + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


@dataclass(frozen=True)
class MotionBlock:
    """A motion message, with what was in force when it came."""

    data: bytes
    source: int | None  # index of the source image that its first frame drives; None: that of the frame referred to
    images: Mapping[int, int]  # number in `Vav.images` of the source image that each source index stands for
    windows: tuple[int, ...] = ()  # numbers in `Vav.windows` of those beside the image that it drives
    clock: CaptureClock | None = None  # of a recorded call


@dataclass
class Vav:
    """A file as read."""

    header: VavHeader
    images: list[bytes] = field(default_factory=list)  # source images in the order of the file
    windows: list[bytes] = field(default_factory=list)  # in the order of the file
    messages: list[MotionBlock] = field(default_factory=list)  # in the order of the file
    audio: list[AudioPacket] = field(default_factory=list)
    clock: CaptureClock | None = None  # the last one
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
        return sum(len(message.data) for message in self.messages)

    @property
    def source_bytes(self) -> int:
        """Bytes of all source images."""
        return sum(map(len, self.images))

    @property
    def film_windows(self) -> dict[int, tuple[bytes, ...]]:
        """Windows beside the source images of a film, by the image's number."""
        return {
            message.images[message.source]: tuple(self.windows[i] for i in message.windows)
            for message in self.messages
            if message.source is not None
        }

    @property
    def window_bytes(self) -> int:
        """Bytes of all windows."""
        return sum(map(len, self.windows))

    @property
    def seconds(self) -> float:
        """Length of the picture; of a cut file with variable frame rate, up to its last message."""
        if self.duration_ms is not None:
            return self.duration_ms / 1000
        if self.header.rate is not None:
            return float(self.frames / self.header.rate)
        if not self.messages:
            return 0.0
        capture_ms = MotionMessage.parse(self.messages[-1].data).capture_ms
        if self.clock is None:
            return (capture_ms or 0) / 1000
        # A short message is timed by its reference. The clock is said anew with each flush, at the last frame then.
        return max(self.clock.at_ms, 0 if capture_ms is None else self.clock.at(capture_ms)) / 1000


class VavWriter:
    """Writes blocks to a file that the caller puts in place when it is complete (`model.media.atomic_file`).

    A recorded call is written in place: what `flush` has written a reader can take, whatever happens afterwards.
    """

    def __init__(self, path: Path, header: VavHeader) -> None:
        self._file: BinaryIO = path.open("wb")
        self.written = 0  # bytes
        self._write(MAGIC)
        self._block(b"HEAD", header.serialize())

    def __enter__(self) -> VavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def flush(self) -> None:
        """Hand everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def source(self, index: int, data: bytes) -> None:
        """A source image (0 ... 255), before the first message that names it; in a call also in place of another."""
        self._block(b"SRCE", bytes([index]) + data)

    def window(self, place: int, data: bytes) -> None:
        """A window: in a film one more beside the source image of index `place`, which was written before.

        In a call it is the one in slot `place` from now on, whatever source image is driven; b"" empties the slot.
        """
        self._block(b"mout", bytes([place]) + data)

    def clock(self, clock: CaptureClock) -> None:
        """What the capture times of the messages that follow count from; in a recorded call alone."""
        self._block(b"CLOK", _CLOCK.pack(clock.capture_ms, clock.at_ms))

    def motion(self, message: bytes) -> None:
        """The next motion message: of a chain encoder, or of a call as it came."""
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
        limit = _LIVE_LIMITS[kind]
        if len(payload) > limit:
            raise InputError(f"a {kind.decode()} block of {len(payload)} bytes; at most {limit} are allowed")
        crc = zlib.crc32(payload, zlib.crc32(kind))
        self._write(_BLOCK.pack(kind, len(payload)) + payload + _CRC.pack(crc))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.written += len(data)


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
    kind, payload = next(_blocks(data, len(MAGIC), live=False), (b"", b""))
    if kind != b"HEAD":
        raise BitstreamError("cut before the end of its header")
    header = VavHeader.parse(payload)
    vav = Vav(header, file_bytes=len(data))
    current: dict[int, int] = {}  # number of the image that each source index stands for
    beside: Mapping[int, tuple[int, ...]] = {}  # numbers of windows by source index, in a call by slot
    clock: CaptureClock | None = None
    rest = len(MAGIC) + _BLOCK.size + len(payload) + _CRC.size
    for kind, payload in _blocks(data, rest, live=header.live):
        if vav.complete or kind == b"HEAD":
            raise BitstreamError(f"a {kind.decode()} block where none belongs")
        if kind == b"SRCE":
            most = MAX_LIVE_SOURCES if header.live else MAX_SOURCES
            double = not header.live and bool(payload) and payload[0] in current
            if len(payload) < 2 or double or len(vav.images) >= most:
                raise BitstreamError("a source image that is empty, double or one too many")
            current = current | {payload[0]: len(vav.images)}
            vav.images.append(payload[1:])
        elif kind == b"mout":
            beside = _beside(beside, payload, len(vav.windows), None if header.live else current)
            vav.windows.append(payload[1:])
        elif kind == b"CLOK":
            if len(payload) != _CLOCK.size:
                raise BitstreamError("damaged CLOK block")
            clock = vav.clock = CaptureClock(*_CLOCK.unpack(payload))
        elif kind == b"MOTN":
            message = MotionMessage.parse(payload)
            if message.short and not header.live:
                raise BitstreamError("a motion message without a time of its own")
            if message.source is not None and message.source not in current:
                raise BitstreamError(f"motion for source image {message.source}, which the file lacks")
            if header.live and clock is None:
                raise BitstreamError("motion whose capture times count from nothing")
            if header.live:
                windows = tuple(number for slot in sorted(beside) for number in beside[slot])
            else:
                windows = () if message.source is None else beside.get(message.source, ())
            vav.messages.append(MotionBlock(payload, message.source, current, windows, clock))
            vav.frames += message.frames
        elif kind == b"OPUS":
            vav.audio_bytes += len(payload)
            vav.audio.extend(_audio_packets(payload))
        else:
            vav.duration_ms = _end(payload, vav.frames)
    if not vav.images and not header.live:
        raise BitstreamError("cut before the end of its source image")
    return vav


def _beside(
    beside: Mapping[int, tuple[int, ...]], payload: bytes, number: int, sources: Mapping[int, int] | None
) -> Mapping[int, tuple[int, ...]]:
    """Numbers of windows in force with one more: by source index in a film, by slot in a call.

    sources: those of a film; None in a call, where one without data empties its slot. Raises BitstreamError.
    """
    place, empty = payload[0] if payload else -1, len(payload) < 2
    if sources is None:
        if not 0 <= place < MAX_WINDOWS or number >= MAX_LIVE_WINDOWS:
            raise BitstreamError("a window in a slot that there is not, or one too many")
        return {**beside, place: () if empty else (number,)}
    before = beside.get(place, ())
    if empty or place not in sources or len(before) >= MAX_WINDOWS:
        raise BitstreamError("a window that is empty, one too many, or without its source image")
    return {**beside, place: (*before, number)}


def _blocks(data: bytes, position: int, live: bool) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of each complete block from there on that is known; ends silently where the data was cut."""
    limits = _LIVE_LIMITS if live else _LIMITS
    while position + _BLOCK.size <= len(data):
        kind, length = _BLOCK.unpack_from(data, position)
        skipped = kind not in limits and kind.isalpha() and kind[:1].islower()
        if kind not in limits and not skipped:
            raise BitstreamError(f"unknown block at byte {position}")
        if length > limits.get(kind, _MAX_SKIPPED):
            raise BitstreamError(f"{kind.decode()} block at byte {position} is too long ({length} bytes)")
        start = position + _BLOCK.size
        end = start + length
        if end + _CRC.size > len(data):
            return
        payload = data[start:end]
        if zlib.crc32(payload, zlib.crc32(kind)) != _CRC.unpack_from(data, end)[0]:
            raise BitstreamError(f"{kind.decode()} block at byte {position} is damaged (wrong checksum)")
        if not skipped:
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
