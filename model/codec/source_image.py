"""The source image as bytes: the formats and sizes that are taken, in files as in calls, and the one encoder."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model.errors import BitstreamError, InputError
from model.pixels import DAMAGE, rgb_pixels

CONTENT_TYPES = {"AVIF": "image/avif", "WEBP": "image/webp", "PNG": "image/png", "JPEG": "image/jpeg"}
"""Media type of each format that is read, by Pillow's name."""

MAX_SOURCE_BYTES = 4 << 20
MAX_SOURCE_PIXELS = 16_000_000

FILE_SPEED = 4
"""AVIF speed, 0 (slowest, smallest) to 10, where nobody waits: 0.4 s for 256 x 256 pixels on one core."""

LIVE_SPEED = 8
"""In a call, where the next frame waits: 16 ms for 256 x 256 pixels, 32 ms for 512 x 512."""

_LARGE = 384  # pixels of a side from which on a picture can do with a lower quality


class SourceImageError(InputError, BitstreamError):
    """A source image that breaks the format: uploaded, it is input; in a file, part of the bitstream."""


class SourceTooLargeError(SourceImageError):
    """The source image has too many bytes or pixels."""

    http_status = 413


class SourceFormatError(SourceImageError):
    """The source image is of no format that is read here, or is damaged."""

    http_status = 415


@dataclass(frozen=True)
class SourceLimits:
    """Bounds on one source image."""

    max_bytes: int = MAX_SOURCE_BYTES
    max_pixels: int = MAX_SOURCE_PIXELS


def content_type(data: bytes) -> str | None:
    """Media type by the first bytes; None when it is none of `CONTENT_TYPES`."""
    if data[:3] == b"\xff\xd8\xff":
        return CONTENT_TYPES["JPEG"]
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return CONTENT_TYPES["PNG"]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return CONTENT_TYPES["WEBP"]
    if data[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1"):
        return CONTENT_TYPES["AVIF"]
    return None


def file_quality(side: int) -> int:
    """AVIF quality 0 ... 100 at which a crop takes 4 to 9 kB at 256 pixels a side, 7 to 16 kB at 512."""
    return 65 if side >= _LARGE else 75


def live_quality(side: int) -> int:
    """The same for `LIVE_SPEED`: 6 to 12 kB at 256 pixels a side, 9 to 19 kB at 512."""
    return 65 if side >= _LARGE else 85


def encode_source(image: NDArray[np.uint8], quality: int | None = None, speed: int = FILE_SPEED) -> bytes:
    """A source image uint8 (S, S, 3) RGB as AVIF, 4:4:4; quality 0 ... 100 (None: `file_quality`), speed 0 ... 10."""
    quality = file_quality(len(image)) if quality is None else quality
    out = io.BytesIO()
    # One thread: bytes that do not depend on the machine, and small pictures gain nothing from more.
    Image.fromarray(image).save(out, "AVIF", quality=quality, subsampling="4:4:4", speed=speed, max_threads=1)
    return out.getvalue()


def decode_source(data: bytes, limits: SourceLimits | None = None) -> NDArray[np.uint8]:
    """The picture, uint8 (H, W, 3) RGB. Raises SourceTooLargeError and SourceFormatError."""
    limits = limits or SourceLimits()
    if len(data) > limits.max_bytes:
        raise SourceTooLargeError(f"a source image has at most {limits.max_bytes} bytes, not {len(data)}")
    try:
        with warnings.catch_warnings():
            # Of damage that Pillow passes over, and of sizes: the bound below is ours.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=tuple(CONTENT_TYPES)) as image:
                # Opening reads the header alone: nothing is allocated before the size is known to be fine.
                if image.width * image.height > limits.max_pixels:
                    size = f"{image.width}x{image.height}"
                    raise SourceTooLargeError(f"a source image has at most {limits.max_pixels} pixels, not {size}")
                # Phones write the rotation into a JPEG instead of turning the pixels.
                upright = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
                return rgb_pixels(upright)
    except SourceImageError:
        raise
    except UnidentifiedImageError:
        raise SourceFormatError("a source image must be AVIF, WebP, PNG or JPEG") from None
    except Image.DecompressionBombError:
        raise SourceTooLargeError(f"a source image has at most {limits.max_pixels} pixels") from None
    except MemoryError:
        raise SourceTooLargeError("the source image needs more memory than there is") from None
    except DAMAGE as error:
        raise SourceFormatError(f"the source image is damaged: {str(error) or type(error).__name__}") from None
