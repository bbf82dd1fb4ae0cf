"""Windows as bytes: round trip, a golden vector, damage, bounds."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.codec.av1 import boxed, unboxed
from model.codec.window import WindowError, decode_window, encode_window
from model.window import MAX_WINDOW_BYTES
from model.window.eyes import EyeWindow
from model.window.eyes import cut_window as cut_eyes
from model.window.mouth import MouthWindow, cut_window
from tests.model.eyes import eyes
from tests.model.eyes import picture as eyes_picture
from tests.model.mouths import lips, picture

WINDOW = cut_window(picture(lips(0.7)), lips(0.7))
DATA = encode_window(WINDOW)
VECTORS = Path(__file__).parents[2] / "vectors"


def test_round_trip() -> None:
    found = decode_window(DATA)
    assert isinstance(found, MouthWindow)
    assert np.allclose(found.points, WINDOW.points, atol=1e-6)
    assert (found.middle, found.half) == pytest.approx((WINDOW.middle, WINDOW.half))
    assert np.abs(found.picture.astype(int) - WINDOW.picture).mean() < 6
    assert len(DATA) <= MAX_WINDOW_BYTES


def test_eyes_come_back() -> None:
    window = cut_eyes(eyes_picture(eyes(0.6, 0.3)), eyes(0.6, 0.3))
    data = encode_window(window)
    found = decode_window(data)
    assert isinstance(found, EyeWindow)
    assert np.allclose(found.points, window.points, atol=1e-6)
    assert found.picture.shape == window.picture.shape
    assert np.abs(found.picture.astype(int) - window.picture).mean() < 6
    assert len(data) <= MAX_WINDOW_BYTES
    for size in ((48, 48), (48, 96), (16, 8), (400, 200)):
        with pytest.raises(WindowError):
            decode_window(data[:13] + image("AVIF", size))
    assert decode_window(data[:13] + image("WEBP", (96, 48))).picture.shape == (48, 96, 3)


def test_golden_mouth() -> None:
    golden = json.loads((VECTORS / "mouth_window.json").read_text())
    found = decode_window(bytes.fromhex(golden["bytes"]))
    assert isinstance(found, MouthWindow)
    assert np.allclose(found.lips, golden["lips"], atol=1e-6)
    assert (found.middle, found.half) == pytest.approx((golden["middle"], golden["half"]))
    assert len(found.picture) == golden["side"]
    assert np.abs(found.picture.reshape(-1, 3).mean(0) - golden["mean"]).max() < 1


def test_golden_eyes() -> None:
    golden = json.loads((VECTORS / "eye_window.json").read_text())
    found = decode_window(bytes.fromhex(golden["bytes"]))
    assert isinstance(found, EyeWindow)
    assert np.allclose(found.lids, golden["lids"], atol=1e-6)
    assert found.picture.shape == (golden["side"], 2 * golden["side"], 3)
    assert np.abs(found.picture.reshape(-1, 3).mean(0) - golden["mean"]).max() < 1


def test_noise_is_coded_coarsely_enough() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    data = encode_window(MouthWindow(noise, WINDOW.lips, 0.0, 1.25), quality=100, speed=8)
    assert len(data) <= MAX_WINDOW_BYTES
    assert len(decode_window(data).picture) == 96


def test_random_damage_is_refused_or_read() -> None:
    chance = random.Random(0)
    for _ in range(200):
        data = bytearray(DATA)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(WindowError):
            decode_window(bytes(data[: chance.randint(0, len(data))]))


def image(kind: str, size: tuple[int, int], subsampling: str = "4:4:4") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, kind, **({"subsampling": subsampling} if kind == "AVIF" else {}))
    return out.getvalue()


HEADER = DATA[:19]


def test_a_browsers_picture_is_webp() -> None:
    out = io.BytesIO()
    Image.fromarray(WINDOW.picture).save(out, "WEBP", quality=85)
    found = decode_window(HEADER + out.getvalue())
    assert np.allclose(found.points, WINDOW.points, atol=1e-6)
    assert np.abs(found.picture.astype(int) - WINDOW.picture).mean() < 6


def test_an_avif_file_is_read_as_it_was_recorded() -> None:
    found, bare = decode_window(HEADER + boxed(DATA[len(HEADER) :])), decode_window(DATA)
    assert np.array_equal(found.picture, bare.picture)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER,
        b"\x03" + DATA[1:],
        DATA + bytes(MAX_WINDOW_BYTES),
        HEADER[:2] + b"\0" + DATA[3:],
        HEADER + image("PNG", (64, 64)),
        HEADER + image("JPEG", (64, 64)),
        HEADER + image("WEBP", (64, 32)),
        HEADER + image("AVIF", (64, 32)),
        HEADER + unboxed(image("AVIF", (64, 32), "4:2:0")),
        HEADER + unboxed(image("AVIF", (400, 400), "4:2:0")),
        DATA[: len(HEADER) + 8],
        DATA[: len(HEADER) + 13],
        HEADER + image("AVIF", (16, 16)),
        HEADER + image("AVIF", (400, 400)),
    ],
    ids=[
        "empty",
        "no picture",
        "version",
        "too long",
        "no extent",
        "PNG",
        "JPEG",
        "not square in WebP",
        "not square",
        "not square without boxes",
        "too large without boxes",
        "half a sequence header",
        "no frame",
        "too small",
        "too large",
    ],
)
def test_impossible_windows_are_refused(data: bytes) -> None:
    with pytest.raises(WindowError):
        decode_window(data)
