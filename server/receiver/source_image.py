"""From uploaded bytes to the square picture that is enrolled: bounded decoding, one face, the right crop.

What the sender uploads is its own square head crop, whose coordinates the motion refers to; such a picture is used as
it is. Any other picture (an avatar, a photo) is cropped around its one face as the sender would have done.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model.errors import InputError

FORMATS = ("AVIF", "WEBP", "JPEG", "PNG")

_HEAD_CROP = (0.6, 1.6)
"""Ratio of the side of the crop that a face calls for to the side of the picture, within which a square picture counts
as a head crop already. The sender's own crops lie between 0.8 and 1.25; a full-length portrait is far below 0.6."""


class SourceTooLargeError(InputError):
    """The source image has too many bytes or pixels."""

    http_status = 413


class SourceFormatError(InputError):
    """The source image is of no format that is read here, or is damaged."""

    http_status = 415


class Crop(Protocol):
    """What `model.face.finder.still_crop` gives back."""

    @property
    def side(self) -> float: ...

    def cut(self, frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]: ...


FindCrop = Callable[[NDArray[np.uint8]], Crop]
"""The crop around the one face of a picture uint8 (H, W, 3); raises FaceError."""


@dataclass(frozen=True)
class SourceLimits:
    """Bounds on one uploaded image."""

    max_bytes: int = 4 * 1024 * 1024
    max_pixels: int = 16_000_000
    min_side: int = 64  # pixels


def decode_source(data: bytes, size: int, limits: SourceLimits, find_crop: FindCrop) -> NDArray[np.uint8]:
    """The picture to enrol, uint8 (size, size, 3) RGB. Blocking: call it in a worker.

    Raises SourceTooLargeError, SourceFormatError, InputError (too small) and FaceError (not exactly one face).
    """
    if len(data) > limits.max_bytes:
        raise SourceTooLargeError(f"a source image has at most {limits.max_bytes} bytes, not {len(data)}")
    picture = _decode(data, limits)
    crop = find_crop(picture)
    height, width = picture.shape[:2]
    if width == height and _HEAD_CROP[0] <= crop.side / width <= _HEAD_CROP[1]:
        image = Image.fromarray(picture)
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.uint8)
    return np.ascontiguousarray(crop.cut(picture, size))


def _decode(data: bytes, limits: SourceLimits) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # Pillow's own bomb warning comes at another size; ours is the bound below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                # Opening reads the header alone: nothing is allocated before the size is known to be fine.
                width, height = image.size
                if width * height > limits.max_pixels:
                    raise SourceTooLargeError(
                        f"a source image has at most {limits.max_pixels} pixels, not {width}x{height}"
                    )
                if min(width, height) < limits.min_side:
                    raise InputError(f"a source image is at least {limits.min_side} pixels wide and high")
                if image.format == "JPEG":
                    # Phones write the rotation into the file instead of turning the pixels.
                    upright = ImageOps.exif_transpose(image)
                    return np.asarray(upright.convert("RGB"), np.uint8)
                return np.asarray(image.convert("RGB"), np.uint8)
    except UnidentifiedImageError:
        raise SourceFormatError("a source image must be AVIF, WebP, JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise SourceTooLargeError(f"a source image has at most {limits.max_pixels} pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise SourceFormatError(f"the source image is damaged: {error}") from None
