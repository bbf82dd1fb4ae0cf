"""A mouth or eye window as bytes (docs/protocol.md, "Windows"): where its keypoints are, then the picture.

The first byte says which of both it is. The picture is AV1 as an AVIF file has it, without the boxes of such a file; or
WebP from a browser, whose canvas writes no AVIF; or, in what was recorded earlier, AVIF.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.codec.av1 import boxed, starts_bare, unboxed
from model.codec.source_image import CONTENT_TYPES, FILE_SPEED, SourceLimits, content_type, decode_source
from model.errors import BitstreamError, InputError
from model.window import EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS, Window, eyes, mouth
from model.window.corners import UNIT
from model.window.eyes import EyeWindow
from model.window.mouth import MouthWindow

MOUTH, EYES = 1, 2
"""First bytes."""

SLOTS_OF_KIND = {MOUTH: MOUTH_SLOTS, EYES: EYE_SLOTS}
"""By the first byte."""

WINDOW_TYPE = "application/octet-stream"
"""Media type of an upload."""

WINDOW_QUALITY = 65
"""Of AV1 as Pillow counts, 0 ... 100."""

PICTURE_TYPES = ("image/avif", "image/webp")
"""Media types of a picture that has one."""

_LIPS, _LIDS = mouth.MOUTH_POINTS - 2, eyes.EYE_POINTS - 2
_MOUTH = struct.Struct(f"!BbB {2 * _LIPS}b")
_EYES = struct.Struct(f"!B {4 * _LIDS}b")


class WindowError(InputError, BitstreamError):
    """A window that breaks the format: uploaded, it is input; in a file, part of the bitstream."""


def encode_window(window: Window, quality: int = WINDOW_QUALITY, speed: int = FILE_SPEED) -> bytes:
    """Quality 0 ... 100, speed 0 ... 10 as of source images. Never more than `MAX_WINDOW_BYTES`."""
    if isinstance(window, MouthWindow):
        extent = (round(window.middle / UNIT), round(window.half / UNIT))
        header = _MOUTH.pack(MOUTH, *extent, *_steps(window.lips))
    else:
        header = _EYES.pack(EYES, *_steps(window.lids))
    while True:
        out = io.BytesIO()
        image = Image.fromarray(window.picture)
        image.save(out, "AVIF", quality=quality, subsampling="4:2:0", speed=speed, max_threads=1)
        picture = unboxed(out.getvalue())
        if len(header) + len(picture) <= MAX_WINDOW_BYTES or quality == 0:
            return header + picture
        quality = max(0, quality - 10)


def decode_window(data: bytes) -> Window:
    """Raises WindowError."""
    form = {MOUTH: _MOUTH, EYES: _EYES}.get(data[0]) if data else None
    if form is None or not form.size < len(data) <= MAX_WINDOW_BYTES:
        raise WindowError("a window of an unknown kind, or too short or too long")
    _, *values = form.unpack_from(data)
    picture = data[form.size :]
    if data[0] == EYES:
        pixels = _pixels(picture, "an eye window", 2, eyes.MIN_SIDE, eyes.MAX_SIDE)
        return EyeWindow(pixels, _coordinates(values).reshape(2, _LIDS, 2))
    middle, half, *lips = values
    if not half:
        raise WindowError("a mouth window without extent")
    pixels = _pixels(picture, "a mouth window", 1, mouth.MIN_SIDE, mouth.MAX_SIDE)
    return MouthWindow(pixels, _coordinates(lips).reshape(_LIPS, 2), middle * UNIT, half * UNIT)


def _steps(coordinates: NDArray[np.float32]) -> list[int]:
    steps: list[int] = np.round(coordinates / UNIT).astype(int).reshape(-1).tolist()
    return steps


def _coordinates(steps: list[int]) -> NDArray[np.float32]:
    return np.array(steps, np.float32) * np.float32(UNIT)


def _pixels(picture: bytes, what: str, squares: int, least: int, largest: int) -> NDArray[np.uint8]:
    """The picture (W, squares W, 3) of a window. Raises WindowError."""
    kind = content_type(picture)
    if not starts_bare(picture) and kind not in PICTURE_TYPES:
        raise WindowError(f"the picture of {what} is neither AV1 nor WebP")
    try:
        if kind == CONTENT_TYPES["AVIF"]:
            picture = unboxed(picture)  # what its boxes say of its size need not be so
        if starts_bare(picture):
            picture = boxed(picture)
        pixels = decode_source(picture, SourceLimits(len(picture), squares * largest * largest))
    except BitstreamError as error:
        raise WindowError(f"the picture of {what}: {error}") from None
    height, width, _ = pixels.shape
    if width != squares * height or not least <= height <= largest:
        shape = "twice as wide" if squares == 2 else "as wide"
        raise WindowError(f"{what} is {least} to {largest} pixels high and {shape}, not {width} x {height}")
    return pixels
