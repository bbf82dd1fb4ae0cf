"""The side of the pictures that `decode` writes: any even number, from the nearest side that the model renders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import InputError

SMALLEST, LARGEST = 64, 2048
"""Pixels."""


def rendered_side(sides: Sequence[int], wanted: int) -> int:
    """The smallest of the model's `sides` that has no fewer pixels than `wanted`, else its largest.

    Raises InputError for a side that no film is written with.
    """
    if not SMALLEST <= wanted <= LARGEST or wanted % 2:
        raise InputError(f"pictures have an even number of {SMALLEST} to {LARGEST} pixels a side, not {wanted}")
    return min((side for side in sides if side >= wanted), default=max(sides))


def scaled(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A square picture uint8 (S, S, 3) with another side."""
    if picture.shape[0] == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), np.uint8)
