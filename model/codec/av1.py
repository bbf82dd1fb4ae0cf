"""A small still picture of AV1 without the boxes that make a file of it: AVIF spends 275 bytes on those, a mouth 300.

An AVIF file (AV1 Image File Format 1.1, on ISO/IEC 23008-12) is open bitstream units (AV1 specification, section 5.3)
in boxes that say once more what the units say. What is dropped here is put back before the picture is decoded.
"""

from __future__ import annotations

import struct

from model.errors import BitstreamError

_BOX = struct.Struct("!I4s")
_LARGE_BOX = 1  # a size that says that another follows
_TEMPORAL_DELIMITER = b"\x12\x00"
_SEQUENCE_HEADER = 0x0A
_FRAME_UNITS = (3, 4, 6)  # types of a frame's header, of a tile group, and of both in one
_STILL_HEADER = 0b00011  # profile 0, which is 8 bits of 4:2:0; still_picture; reduced_still_picture_header
_FRAME_BITS = 10  # bits before the sizes: profile and flags, then seq_level_idx


def starts_bare(data: bytes) -> bool:
    """Whether that looks like what `unboxed` gives: units that begin with a sequence header."""
    return data[:1] == bytes([_SEQUENCE_HEADER])


def unboxed(avif: bytes) -> bytes:
    """The units of a file with one picture, 8 bits and 4:2:0, as Pillow writes it. Raises BitstreamError."""
    at = 0
    while at + _BOX.size <= len(avif):
        size, kind = _BOX.unpack_from(avif, at)
        if size <= _LARGE_BOX or at + size > len(avif):
            break
        if kind == b"mdat":
            units = avif[at + _BOX.size : at + size].removeprefix(_TEMPORAL_DELIMITER)
            _extent(units)
            return units
        at += size
    raise BitstreamError("an AVIF file without a picture")


def boxed(units: bytes) -> bytes:
    """The AVIF file of these units. Raises BitstreamError when they do not begin with such a picture's header."""
    width, height, level = _extent(units)
    properties = (
        _full_box(b"ispe", struct.pack("!II", width, height))
        + _full_box(b"pixi", bytes([3, 8, 8, 8]))
        + _box(b"av1C", bytes([0x81, level, 0x0C, 0]))
        + _box(b"colr", b"nclx" + struct.pack("!HHHB", 1, 13, 6, 0x80))  # sRGB, BT.601 and full range, as Pillow has it
    )
    associations = struct.pack("!IHB", 1, 1, 4) + bytes([1, 2, 0x80 | 3, 4])  # the decoder's configuration is essential
    item = struct.pack("!HH", 1, 0) + b"av01\0"

    def meta(offset: int) -> bytes:
        place = b"\x44\0" + struct.pack("!HHHHII", 1, 1, 0, 1, offset, len(units))
        return _full_box(
            b"meta",
            _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
            + _full_box(b"pitm", struct.pack("!H", 1))
            + _full_box(b"iloc", place)
            + _full_box(b"iinf", struct.pack("!H", 1) + _full_box(b"infe", item, version=2))
            + _box(b"iprp", _box(b"ipco", properties) + _full_box(b"ipma", associations)),
        )

    kind = _box(b"ftyp", b"avif\0\0\0\0avifmif1miafMA1B")
    begin = len(kind) + len(meta(0)) + _BOX.size
    return kind + meta(begin) + _box(b"mdat", units)


def _box(kind: bytes, content: bytes) -> bytes:
    return _BOX.pack(_BOX.size + len(content), kind) + content


def _full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]) + content)


def _extent(units: bytes) -> tuple[int, int, int]:
    """Width, height and level of the picture (AV1 specification, section 5.5.1). Raises BitstreamError.

    One sequence header and what a frame takes, nothing else: another header would bring a picture of another size.
    """
    if not starts_bare(units):
        raise BitstreamError("a picture of AV1 begins with its sequence header")
    kinds, (begin, end) = _walk(units)
    if kinds[0] != 1 or not all(kind in _FRAME_UNITS for kind in kinds[1:]) or len(kinds) < 2:
        raise BitstreamError("not one picture of AV1")
    bits = "".join(f"{byte:08b}" for byte in units[begin:end])
    if len(bits) < _FRAME_BITS + 8 or int(bits[:5], 2) != _STILL_HEADER:
        raise BitstreamError("not a small still picture of AV1, 8 bits and 4:2:0")
    at = _FRAME_BITS + 8
    width_bits, height_bits = int(bits[_FRAME_BITS : _FRAME_BITS + 4], 2) + 1, int(bits[_FRAME_BITS + 4 : at], 2) + 1
    if len(bits) < at + width_bits + height_bits:
        raise BitstreamError("a sequence header of AV1 that ends too early")
    width, height = int(bits[at:][:width_bits], 2) + 1, int(bits[at + width_bits :][:height_bits], 2) + 1
    return width, height, int(bits[5:_FRAME_BITS], 2)


def _walk(units: bytes) -> tuple[list[int], tuple[int, int]]:
    """Types of all units, and where the first one's content lies (section 5.3). Raises BitstreamError."""
    kinds: list[int] = []
    first = (0, 0)
    at = 0
    while at < len(units):
        header = units[at]
        size = shift = 0
        at += 1
        while at < len(units):  # leb128 (section 4.10.5); no picture here takes three bytes of it
            byte = units[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80 or shift > 14:
                break
        # No extension and no reserved bit, and the size is given.
        if header & 0x87 != 0x02 or not shift or at + size > len(units):
            raise BitstreamError("damaged units of AV1")
        first = first if kinds else (at, at + size)
        kinds.append(header >> 3 & 0xF)
        at += size
    return kinds, first
