"""The benchmark's picture: a public-domain portrait (NASA, from scikit-image) that sways, nods and breathes."""

from __future__ import annotations

import functools
import io
import math

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

SIZE = 256
_BOX = (92, 0, 356, 264)  # the head with margin, pixels of the 512x512 picture


def portrait_picture() -> NDArray[np.uint8]:
    """Eileen Collins, astronaut (NASA, public domain), as scikit-image carries her: uint8 (512, 512, 3) RGB."""
    return np.asarray(skimage.data.astronaut(), np.uint8)


@functools.cache
def _portrait() -> Image.Image:
    return Image.fromarray(portrait_picture()).crop(_BOX)


def still(size: int = SIZE) -> NDArray[np.uint8]:
    """The portrait's head, uint8 (size, size, 3) RGB."""
    return np.asarray(_portrait().resize((size, size), Image.Resampling.BICUBIC), np.uint8)


def still_png() -> bytes:
    """The same as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(still()).save(buffer, "PNG")
    return buffer.getvalue()


def moving_frame(seconds: float, size: int = SIZE) -> NDArray[np.uint8]:
    """The portrait at a time, uint8 (size, size, 3) RGB: some pixels of sway and zoom, some degrees of tilt."""
    picture = _portrait()
    angle = 4.0 * math.sin(2 * math.pi * 0.5 * seconds)
    shift = (round(6 * math.sin(2 * math.pi * 0.7 * seconds)), round(4 * math.sin(2 * math.pi * 1.1 * seconds)))
    turned = picture.rotate(angle, Image.Resampling.BILINEAR, translate=shift)
    zoom = 6.0 + 3.0 * math.sin(2 * math.pi * 0.3 * seconds)
    box = (zoom, zoom, picture.width - zoom, picture.height - zoom)
    return np.array(turned.resize((size, size), Image.Resampling.BILINEAR, box=box), np.uint8)
