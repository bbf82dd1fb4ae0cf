"""RGB to YUV 4:2:0 against ffmpeg's own conversion."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.errors import InputError
from model.media.colour import rgb_to_yuv420p


def smooth_picture(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1).astype(np.uint8)


def test_agrees_with_ffmpeg() -> None:
    picture = smooth_picture()
    expected = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray()
    converted = rgb_to_yuv420p(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].numpy()
    assert converted.shape == expected.shape
    difference = np.abs(converted.astype(int) - expected.astype(int))
    assert difference.max() <= 2
    assert difference.mean() < 0.5


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 255, 0), (145, 54, 34)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
def test_primaries_of_bt601_limited_range(rgb: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    frame = torch.tensor(rgb, dtype=torch.uint8).reshape(1, 3, 1, 1).expand(2, 3, 8, 8)
    planes = rgb_to_yuv420p(frame)
    assert planes.shape == (2, 12, 8)
    for value, part in zip(yuv, (planes[:, :8], planes[:, 8:10], planes[:, 10:]), strict=True):
        assert bool((part == value).all())


@pytest.mark.parametrize("shape", [(1, 3, 10, 8), (1, 3, 8, 7), (1, 4, 8, 8), (3, 8, 8)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        rgb_to_yuv420p(torch.zeros(shape, dtype=torch.uint8))
