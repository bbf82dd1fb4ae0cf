"""Picture files: upright, bounded, and one clear error for what is none."""

from __future__ import annotations

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
