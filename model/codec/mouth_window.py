"""A mouth window as bytes (docs/protocol.md, "Mouth windows"): where its keypoints are, then the picture.

The picture is AVIF, or WebP from a browser, whose canvas writes no AVIF.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from model.codec.source_image import FILE_SPEED, SourceImageError, SourceLimits, content_type, decode_source
from model.errors import BitstreamError, InputError
from model.mouth_window import MAX_SIDE, MAX_WINDOW_BYTES, MIN_SIDE, MOUTH_POINTS, UNIT, MouthWindow

VERSION = 1

WINDOW_TYPE = "application/octet-stream"
"""Media type of an upload."""

WINDOW_QUALITY = 65
"""AVIF quality, 0 ... 100."""

PICTURE_TYPES = ("image/avif", "image/webp")
"""Media types of the picture."""

_LIPS = MOUTH_POINTS - 2
_HEADER = struct.Struct(f"!Bb B {2 * _LIPS}b")


class MouthWindowError(InputError, BitstreamError):
    """A mouth window that breaks the format: uploaded, it is input; in a file, part of the bitstream."""


def encode_window(window: MouthWindow, quality: int = WINDOW_QUALITY, speed: int = FILE_SPEED) -> bytes:
    """Quality 0 ... 100, speed 0 ... 10 as of source images. Never more than `MAX_WINDOW_BYTES`."""
    header = _HEADER.pack(
        VERSION,
        round(window.middle / UNIT),
        round(window.half / UNIT),
        *np.round(window.lips / UNIT).astype(int).reshape(-1).tolist(),
    )
    while True:
        out = io.BytesIO()
        image = Image.fromarray(window.picture)
        image.save(out, "AVIF", quality=quality, subsampling="4:2:0", speed=speed, max_threads=1)
        if len(header) + len(out.getvalue()) <= MAX_WINDOW_BYTES or quality == 0:
            return header + out.getvalue()
        quality = max(0, quality - 10)


def decode_window(data: bytes) -> MouthWindow:
    """Raises MouthWindowError."""
    if not _HEADER.size < len(data) <= MAX_WINDOW_BYTES or data[0] != VERSION:
        raise MouthWindowError("a mouth window of an unknown version, or too short or too long")
    _, middle, half, *lips = _HEADER.unpack_from(data)
    if not half:
        raise MouthWindowError("a mouth window without extent")
    picture = data[_HEADER.size :]
    if content_type(picture) not in PICTURE_TYPES:
        raise MouthWindowError("the picture of a mouth window is neither AVIF nor WebP")
    try:
        pixels = decode_source(picture, SourceLimits(MAX_WINDOW_BYTES, MAX_SIDE * MAX_SIDE))
    except SourceImageError as error:
        raise MouthWindowError(f"the picture of a mouth window: {error}") from None
    height, width, _ = pixels.shape
    if height != width or not MIN_SIDE <= width <= MAX_SIDE:
        raise MouthWindowError(f"a mouth window is square, {MIN_SIDE} to {MAX_SIDE} pixels, not {width} x {height}")
    points = np.array(lips, np.float32).reshape(_LIPS, 2) * np.float32(UNIT)
    return MouthWindow(pixels, points, middle * UNIT, half * UNIT)
