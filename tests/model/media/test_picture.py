"""Picture files: upright, bounded, and one clear error for what is none."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.media import picture
from model.media.picture import read_picture


def test_a_picture_comes_upright_and_in_rgb(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: the top row is shown on the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    shown = read_picture(tmp_path / "turned.png")
    assert shown.shape == (6, 4, 3)
    assert (shown[:, -1] == 255).all()
    assert (shown[:, 0] == 0).all()
    Image.fromarray(pixels[..., 0]).convert("LA").save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), pixels)


def test_what_is_no_picture_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such picture"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match="not a readable image"):
        read_picture(tmp_path / "text.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable image"):
        read_picture(tmp_path / "cut.png")
    monkeypatch.setattr(picture, "MAX_PIXELS", 64 * 63)
    with pytest.raises(InputError, match="million pixels"):
        read_picture(tmp_path / "cut.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "clear.png"
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0)).convert(mode)
    image.save(path, transparency=0) if mode == "P" else image.save(path)
    assert read_picture(path).min() == 255


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 128 * 256, 65535]], np.uint16)).save(path)
    np.testing.assert_array_equal(read_picture(path)[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "tiff", "bmp", "avif"])
def test_damaged_pictures_are_input_errors(tmp_path: Path, form: str) -> None:
    """Of 300 mutations of each format none raises anything but InputError."""
    path = tmp_path / f"picture.{form}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(path)
    whole, chance = path.read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(whole)
        for place in chance.integers(0, min(len(data), 400), 3):
            data[place] = chance.integers(256)
        path.write_bytes(data[: chance.integers(8, len(data) + 1)])
        with contextlib.suppress(InputError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about damage
            assert read_picture(path).ndim == 3
