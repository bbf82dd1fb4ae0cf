"""A picture as Pillow opened it to RGB bytes, whatever its mode."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error),
    *(IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, AttributeError, AssertionError),
    *(RuntimeError, MemoryError),
)
"""What Pillow's readers raise for a damaged file: each trusts the numbers in it in its own way."""

BEHIND = (255, 255, 255)
"""What shows through a transparent picture: white, as in a page."""


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB: 16-bit grey is scaled, transparency laid over `BEHIND`. Raises what is in `DAMAGE`."""
    if image.mode.startswith("I"):  # I;16 and kin hold 16 bits; Pillow reads a PNG's as plain I, too
        grey = np.clip(np.asarray(image, np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        whole = Image.new("RGBA", above.size, (*BEHIND, 255))
        return np.asarray(Image.alpha_composite(whole, above).convert("RGB"), np.uint8)
    return np.asarray(image.convert("RGB"), np.uint8)
