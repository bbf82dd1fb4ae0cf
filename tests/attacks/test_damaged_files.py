"""Damaged uploads, weights that are not those of the manifest."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import shutil
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from model.codec.source_image import SourceFormatError, SourceImageError, decode_source
from model.errors import WeightsError
from model.weights.manifest import FACE_DETECTOR, MANIFEST, read_weights


def jpeg_with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    out = io.BytesIO()
    Image.new("RGB", (80, 96), (90, 120, 150)).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize(
    "error", [struct.error("unpack"), KeyError("tag"), RuntimeError("decoder"), ZeroDivisionError()], ids=repr
)
def test_whatever_the_decoder_raises_is_one_typed_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Image.Image) -> Image.Image:
        raise error

    monkeypatch.setattr(ImageOps, "exif_transpose", broken)
    with pytest.raises(SourceFormatError) as caught:
        decode_source(jpeg_with_exif())
    assert caught.value.http_status == 415


def test_an_error_of_our_own_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(image: Image.Image) -> Image.Image:
        raise asyncio.InvalidStateError

    monkeypatch.setattr(ImageOps, "exif_transpose", interrupted)
    with pytest.raises(asyncio.InvalidStateError):
        decode_source(jpeg_with_exif())


def test_mutated_pictures_decode_or_raise_the_typed_error() -> None:
    rng, good = random.Random(18), jpeg_with_exif()
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(3, min(len(data), 200))] = rng.randrange(256)
        with contextlib.suppress(SourceImageError):
            decode_source(bytes(data))


def test_weights_that_differ_from_their_manifest_are_refused(tmp_path: Path) -> None:
    shutil.copy(MANIFEST, tmp_path)
    copy = tmp_path / FACE_DETECTOR.name
    data = bytearray(FACE_DETECTOR.read_bytes())
    copy.write_bytes(data)
    read_weights(copy, tmp_path / MANIFEST.name)
    data[-1] ^= 1  # one bit of the last weight: the file is readable still
    copy.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(copy, tmp_path / MANIFEST.name)
