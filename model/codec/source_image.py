"""The source image as bytes: AVIF by default, any of four formats when reading."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import BitstreamError

FORMATS = ("AVIF", "WEBP", "PNG", "JPEG")
MAX_SOURCE_BYTES = 4 << 20
MAX_SOURCE_SIDE = 4096
DEFAULT_QUALITY = 75
"""AVIF quality at which a 256 x 256 crop takes about 8 kB."""


def encode_source(image: NDArray[np.uint8], quality: int = DEFAULT_QUALITY) -> bytes:
    """A source image uint8 (S, S, 3) RGB as AVIF, 4:4:4, quality 0 ... 100."""
    out = io.BytesIO()
    # One thread: bytes that do not depend on the machine, and small pictures gain nothing from more.
    Image.fromarray(image).save(out, "AVIF", quality=quality, subsampling="4:4:4", speed=4, max_threads=1)
    return out.getvalue()


def decode_source(data: bytes) -> NDArray[np.uint8]:
    """The picture, uint8 (H, W, 3) RGB. Raises BitstreamError when it is no picture of a known format and size."""
    if len(data) > MAX_SOURCE_BYTES:
        raise BitstreamError(f"source image of {len(data)} bytes; at most {MAX_SOURCE_BYTES} are allowed")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SOURCE_SIDE:
                raise BitstreamError(f"source image of {image.width} x {image.height} pixels is too large")
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BitstreamError(f"source image cannot be decoded: {error}") from None
