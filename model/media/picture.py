"""Picture files that a user names: photos and avatars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.errors import InputError
from model.pixels import DAMAGE, rgb_pixels

MAX_PIXELS = 64_000_000
"""Largest picture that is read: more than any phone's camera takes, 192 MB when decoded."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as uint8 (H, W, 3) RGB, turned upright as its camera noted. Raises InputError."""
    try:
        with Image.open(path) as image:  # reads the header alone
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path} has more than {MAX_PIXELS // 1_000_000} million pixels")
            return rgb_pixels(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"no such picture: {path}") from None
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image ({error})") from None
