"""What of a film is remembered."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.source.sightings import MOST_KEPT, Sightings


def grey(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    del points
    return np.array([crop.mean()], np.float32)


def crop(value: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


def place(frame: int) -> NDArray[np.float32]:
    return np.full((3, 2), frame, np.float32)


@pytest.mark.parametrize(("length", "every"), [(5, 1), (MOST_KEPT, 1), (MOST_KEPT + 1, 2), (9 * MOST_KEPT, 16)])
def test_textures_are_bounded_and_even_and_the_source_image_has_one(length: int, every: int) -> None:
    seen = Sightings(grey)
    for frame in range(length):
        seen.add(crop(frame % 200), place(frame))
    assert seen.points.shape == (length, 3, 2)
    assert len(seen) == length
    for source in (0, 3):
        frames, textures = seen.textures(source, crop(201))
        assert frames.tolist() == sorted({*range(0, length, every), source})
        own = frames.tolist().index(source)
        assert textures[own] == (201 if source % every else source)
        assert textures[0] == 0
        assert len(frames) == len(textures) <= MOST_KEPT + 1
