"""The picture of a lost signal."""

from __future__ import annotations

import numpy as np

from server.receiver.lost_mark import draw_held


def test_dim_grey_and_marked() -> None:
    planes = np.full((384, 256), 200, np.uint8)
    held, lost = draw_held(planes, False), draw_held(planes, True)
    assert (planes == 200).all(), "the picture itself is not touched"
    assert held[:256].max() < 110
    assert (np.abs(held[256:].astype(int) - 128) <= np.abs(planes[256:].astype(int) - 128) / 3).all()
    different = np.argwhere(held != lost)
    assert 30 < len(different) < 600
    assert different.max() < 64  # upper left
    assert (lost[tuple(different.T)] == 220).all()


def test_black_stays_black() -> None:
    black = np.vstack([np.full((64, 64), 16, np.uint8), np.full((32, 64), 128, np.uint8)])
    assert np.array_equal(draw_held(black, False), black)


def test_tiny_pictures_do_no_harm() -> None:
    assert draw_held(np.full((12, 8), 50, np.uint8), True).shape == (12, 8)
