"""The mark in pictures of a face that no camera took: a word on a dark plate, upper right.

It is part of the picture, so that it is seen wherever the picture goes. It lies in the upper half because viewers cut
square pictures to wide ones at the bottom. Plate and word are drawn once for each word and size; a picture then costs a
copy and one blend of a few thousand pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FaceMark = Literal["rendered", "avatar"]
"""What a face is: rendered from its own sender's picture and motion, or another face that the sender moves."""

_PLATE, _WORD = 24, 255  # grey values
_PLATE_OPACITY = 0.6
_OPAQUE = 256


@dataclass(frozen=True)
class _Overlay:
    """A place in a picture and what is blended into it: (picture * keep + add) >> 8."""

    top: int
    left: int
    keep: NDArray[np.uint16]  # (h, w), 0 to 256: share of the picture that stays
    grey: NDArray[np.uint16]  # (h, w), 0 to 255: the colour of what comes in its place


@lru_cache(maxsize=16)
def _overlay(mark: FaceMark, height: int, width: int) -> _Overlay:
    """The mark for pictures of one size; its place and size are even, so that it fits chroma at half the resolution."""
    letters = max(7, round(min(height, width) / 20))  # em, pixels: 13 at 256, where small letters are 7 pixels high
    font = ImageFont.load_default(size=letters)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), mark, font=font)
    edge = max(2, letters // 3)
    rows = min(_even(bottom - top + 2 * edge), height // 2 * 2)
    columns = min(_even(right - left + 2 * edge), width // 2 * 2)
    word = Image.new("L", (columns, rows), 0)
    ImageDraw.Draw(word).text(((columns - right - left) / 2, (rows - bottom - top) / 2), mark, 255, font)
    plate = Image.new("L", (columns, rows), 0)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, columns - 1, rows - 1), edge, round(255 * _PLATE_OPACITY))
    ink = np.asarray(word, np.float64) / 255
    under = np.asarray(plate, np.float64) / 255
    opacity = ink + (1 - ink) * under
    grey = (ink * _WORD + (1 - ink) * under * _PLATE) / np.maximum(opacity, 1e-6)
    margin = _even(letters // 2)
    return _Overlay(
        min(margin, (height - rows) // 2 * 2),
        max(0, (width - columns - margin) // 2 * 2),
        np.rint(_OPAQUE * (1 - opacity)).astype(np.uint16),
        np.rint(grey).astype(np.uint16),
    )


@lru_cache(maxsize=16)
def _planar(mark: FaceMark, height: int, width: int) -> tuple[_Overlay, _Overlay]:
    """The same for luma in limited range (ITU-R BT.601), and for chroma, where the mark has no colour."""
    full = _overlay(mark, height, width)
    luma = np.rint(16 + full.grey * (219 / 255)).astype(np.uint16)
    rows, columns = full.keep.shape
    keep = np.rint(full.keep.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))).astype(np.uint16)
    return (
        _Overlay(full.top, full.left, full.keep, luma),
        _Overlay(full.top // 2, full.left // 2, keep, np.full_like(keep, 128)),
    )


def marked(picture: NDArray[np.uint8], mark: FaceMark) -> NDArray[np.uint8]:
    """A copy of an RGB picture, uint8 (H, W, 3), with the mark."""
    out = np.array(picture, order="C")
    overlay = _overlay(mark, *out.shape[:2])
    for channel in range(3):
        _blend(out[:, :, channel], overlay)
    return out


def marked_planes(planes: NDArray[np.uint8], mark: FaceMark) -> NDArray[np.uint8]:
    """A copy of a planar picture, uint8 (3H/2, W) as `model.media.colour` makes it, with the mark. H, W: fours."""
    out = np.array(planes, order="C")
    rows, width = out.shape
    height = rows * 2 // 3
    luma, chroma = _planar(mark, height, width)
    _blend(out[:height], luma)
    for plane in out[height:].reshape(2, height // 2, width // 2):
        _blend(plane, chroma)
    return out


def _blend(plane: NDArray[np.uint8], overlay: _Overlay) -> None:
    rows, columns = overlay.keep.shape
    place = plane[overlay.top : overlay.top + rows, overlay.left : overlay.left + columns]
    place[:] = (place * overlay.keep + overlay.grey * (_OPAQUE - overlay.keep)) >> 8


def _even(value: float) -> int:
    return 2 * -(-int(value) // 2)
