"""Source images that are damaged: a typed error with its status code, whatever Pillow raises."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from model.codec.source_image import SourceImageError, decode_source


@pytest.mark.parametrize("form", ["AVIF", "WEBP", "PNG", "JPEG"])
def test_damaged_source_images_have_a_status_code(form: str) -> None:
    """Of 500 mutations of each format none raises anything but SourceImageError."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(out, form)
    chance = np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        data = bytearray(out.getvalue())
        for place in chance.integers(0, min(len(data), 400), 3):
            data[place] = chance.integers(256)
        with contextlib.suppress(SourceImageError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about damage
            refused += 1
            assert decode_source(bytes(data[: chance.integers(8, len(data) + 1)])).ndim == 3
            refused -= 1
    assert refused > 100


def test_a_transparent_source_image_lies_over_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(out, "PNG")
    assert decode_source(out.getvalue()).min() == 255
