"""Still pictures of AV1 without their files' boxes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from model.codec.av1 import boxed, starts_bare, unboxed
from model.errors import BitstreamError


def avif(width: int, height: int, subsampling: str = "4:2:0") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "AVIF", quality=65, subsampling=subsampling)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 96), (48, 24), (128, 64), (1, 1), (515, 3)])
def test_the_same_picture_comes_back(size: tuple[int, int]) -> None:
    data = avif(*size)
    units = unboxed(data)
    assert starts_bare(units)
    assert len(data) - len(units) > 270
    assert np.array_equal(pixels(boxed(units)), pixels(data))
    assert unboxed(boxed(units)) == units


def test_other_pictures_are_refused() -> None:
    for data in (avif(32, 32, "4:4:4"), b"", b"\0\0\0\x10ftypavif", avif(32, 32)[:200], b"\0\0\0\1mdat" + bytes(20)):
        with pytest.raises(BitstreamError):
            unboxed(data)


def test_headers_that_are_none_are_refused() -> None:
    units = unboxed(avif(32, 32))
    for data in (
        b"",
        units[:1],
        units[:2],
        units[:3],
        b"\x32" + units[1:],
        b"\x0a\x02" + units[2:],
        b"\x0a\x09\0" + units[3:],
    ):
        with pytest.raises(BitstreamError):
            boxed(data)


def test_a_second_header_would_bring_another_size() -> None:
    small, large = unboxed(avif(32, 32)), unboxed(avif(256, 256))
    for data in (
        small[:11] + large,
        b"\x12\0" + small,
        small + b"\x12\0",
        small[:11],
        small[:11] + b"\x32",
        small[:11] + b"\x32\xff\xff\xff\x7f",
        small[:11] + b"\x30" + small[12:],
        small[:11] + b"\x36" + small[12:],
        b"\x0a\x89" + small[2:],
    ):
        with pytest.raises(BitstreamError):
            boxed(data)
