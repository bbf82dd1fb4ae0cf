"""From uploaded bytes to the square picture that is enrolled: one face, the right crop.

What the sender uploads is its own square head crop, whose coordinates the motion refers to; such a picture is used as
it is. Any other picture (an avatar, a photo) is cropped around its one face as the sender would have done.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.codec.source_image import SourceLimits, decode_source
from model.errors import InputError

MIN_SIDE = 64
"""Pixels of an upload; below it no face is found."""

_HEAD_CROP = (0.6, 1.6)
"""Ratio of the side of the crop that a face calls for to the side of the picture, within which a square picture counts
as a head crop already. The sender's own crops lie between 0.8 and 1.25; a full-length portrait is far below 0.6."""


class Crop(Protocol):
    """What `model.face.finder.still_crop` gives back."""

    @property
    def side(self) -> float: ...

    def cut(self, frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]: ...


FindCrop = Callable[[NDArray[np.uint8]], Crop]
"""The crop around the one face of a picture uint8 (H, W, 3); raises FaceError."""


SourceSize = Callable[[float], int]
"""Side of the picture to enrol for a crop of so many pixels a side (`model.talking_head.Profile.source_size`)."""


def crop_source(
    data: bytes, source_size: SourceSize, limits: SourceLimits, find_crop: FindCrop
) -> tuple[NDArray[np.uint8], bytes]:
    """The picture to enrol, uint8 (S, S, 3) RGB, S as `source_size` says, and an image that decodes to it.

    That image is the uploaded one where nothing was cut or scaled, else a PNG. Blocking: call it in a worker.
    Raises SourceTooLargeError, SourceFormatError, InputError (too small) and FaceError (not exactly one face).
    """
    picture = decode_source(data, limits)
    cut = _cut(picture, source_size, find_crop)
    if cut.shape == picture.shape and np.array_equal(cut, picture):
        return cut, data
    out = io.BytesIO()
    Image.fromarray(cut).save(out, "PNG", compress_level=1)
    return cut, out.getvalue()


def _cut(picture: NDArray[np.uint8], source_size: SourceSize, find_crop: FindCrop) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if min(width, height) < MIN_SIDE:
        raise InputError(f"a source image is at least {MIN_SIDE} pixels wide and high")
    crop = find_crop(picture)
    if width == height and _HEAD_CROP[0] <= crop.side / width <= _HEAD_CROP[1]:
        image, size = Image.fromarray(picture), source_size(width)
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.uint8)
    return np.ascontiguousarray(crop.cut(picture, source_size(crop.side)))
