"""The picture of a lost signal: the last face, grey and dim, with a crossed-out signal mark. Planar YUV, no I/O."""

from __future__ import annotations

from typing import Literal

import numpy as np

from server.media.picture import Planes

Mark = Literal["none", "held", "lost"]
"""What is drawn on a picture: nothing; grey, because the sender sees no face; grey and the mark of a lost signal."""

_MARK = (
    "#..........#",
    ".#........##",
    "..#.......##",
    "...#...##.##",
    "....#..##.##",
    ".....#.##.##",
    "....#.#...##",
    "....##.#..##",
    ".##.##..#.##",
    ".##.##.#.#.#",
    ".##.##.##.#.",
    ".##.##.##.##",
)
"""Rising bars with a stroke through them, one character a cell."""


def draw_held(planes: Planes, lost: bool) -> Planes:
    """A copy of `planes` nearly grey, at 45 % brightness: the face is held. If `lost`, with the mark, upper left."""
    rows, width = planes.shape
    height = rows * 2 // 3
    out = planes.copy()
    luma = out[:height]
    luma[:] = (luma.astype(np.uint16) * 115 // 255 + 9).astype(np.uint8)  # 16 stays black: 16 * 0.45 + 9
    # A quarter of the chroma stays: grey enough to read as off, alive enough to know the person.
    out[height:] = 96 + (out[height:] >> 2)
    if not lost:
        return out
    cell = max(1, min(height, width) // 128)
    mark = np.array([[c == "#" for c in row] for row in _MARK]).repeat(cell, 0).repeat(cell, 1)
    top = left = 4 * cell
    place = luma[top : top + mark.shape[0], left : left + mark.shape[1]]
    place[mark[: place.shape[0], : place.shape[1]]] = 220
    return out
