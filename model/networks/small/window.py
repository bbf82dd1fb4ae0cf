"""The window of a picture that the generator paints: the face and what it hides.

Elsewhere a frame is the source's own pixels, moved: what a network would paint there is not seen. All sizes and places
are whole cells of the coarsest map, so that a window's maps of every scale are parts of the whole picture's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import centres, pixel_grid
from model.networks.small.blocks import warp
from model.networks.small_config import WILD

CELLS = 32
"""Cells of a picture's side, eight pixels of 256 each."""

_HIGH, _WIDE = 22, 20  # cells; a head that is larger is painted as far as the window reaches
_MANY = 16
"""Channels of maps that come from a convolution."""

_SOFT = 1.5  # cells over which the painting begins at the window's border


@dataclass(frozen=True)
class Window:
    """Where the windows of a batch lie."""

    top: Tensor  # (B,) cells from the picture's upper border, whole numbers
    left: Tensor  # (B,) from its left border

    @staticmethod
    def around(points: Tensor) -> Window:
        """The windows in whose middle points (B, N, 2), crop units, lie, or as near to it as the picture reaches."""
        # Motion comes from a network: what is no number, or far outside the picture, must not become a place.
        points = torch.where(points.abs() < WILD, points, 0.0)
        middle = ((points.amin(1) + points.amax(1)) / 2 + 1) * (CELLS / 2)  # (B, 2) cells
        left, top = (middle - middle.new_tensor((_WIDE, _HIGH)) / 2).round().unbind(-1)
        return Window(top.clamp(0, CELLS - _HIGH), left.clamp(0, CELLS - _WIDE))

    def of(self, maps: Tensor) -> Tensor:
        """The windows' part of maps (B, C, n, n) of whole pictures: (B, C, n _HIGH / CELLS, n _WIDE / CELLS)."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return self._copied(maps)
        return warp(maps, self.grid(maps.shape[-1], maps))

    def _copied(self, maps: Tensor) -> Tensor:
        """The same of a batch of one, as traced graphs are, where copying is faster than sampling."""
        channels, size = maps.shape[1], maps.shape[-1]
        scale = size // CELLS
        high, wide = _HIGH * scale, _WIDE * scale
        rows, columns = self._pixels(high, wide, scale)
        if channels < _MANY:
            return maps.index_select(2, rows).index_select(3, columns)
        # What a convolution gave has the channels of a pixel together, and is not put into planes here.
        places = (rows[:, None] * size + columns).reshape(-1)
        pixels = maps.permute(0, 2, 3, 1).reshape(size * size, channels).index_select(0, places)
        return pixels.reshape(1, high, wide, channels).permute(0, 3, 1, 2)

    def _pixels(self, high: int, wide: int, scale: int) -> tuple[Tensor, Tensor]:
        """`high` rows and `wide` columns, int32, from the first window's first pixel on; `scale` pixels a cell."""
        first = (torch.stack([self.top[0], self.left[0]]) * scale).to(torch.int32)
        y, x = (torch.arange(n, dtype=torch.int32, device=first.device) for n in (high, wide))
        return y + first[0], x + first[1]

    def grid(self, size: int, like: Tensor) -> Tensor:
        """Where the pixels of the windows lie in whole maps of `size` pixels a side, crop units: (B, h, w, 2)."""
        scale = size // CELLS
        share = like.new_tensor((_WIDE, _HIGH)) / CELLS
        return pixel_grid(_HIGH * scale, _WIDE * scale, like) * share + self._middle()[:, None, None]

    def placed(self, parts: Tensor, size: int) -> Tensor:
        """What the windows hold, (B, C, h, w), in whole pictures (B, C, size, size) that are 0 elsewhere."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            high, wide = parts.shape[-2:]
            rows, columns = self._pixels(size, size, -(size // CELLS))
            rows, columns = (torch.where((x >= 0) & (x < n), x, n) for x, n in ((rows, high), (columns, wide)))
            framed = F.pad(parts, (0, 1, 0, 1))  # a row and a column of what lies outside
            return framed.index_select(2, rows).index_select(3, columns)
        enlarged = CELLS / parts.new_tensor((_WIDE, _HIGH))
        grid = pixel_grid(size, size, parts) * enlarged
        return warp(parts, grid - (self._middle() * enlarged)[:, None, None], padding="zeros")

    def share(self, height: int, width: int) -> Tensor:
        """How far the painting counts at each pixel of the windows, (B, 1, height, width): less towards a border.

        It counts wholly along a border of the picture.
        """
        rows = _ramp(self.top, _HIGH, height)[:, None, :, None]
        return rows * _ramp(self.left, _WIDE, width)[:, None, None, :]

    def _middle(self) -> Tensor:
        """The windows' middles (B, 2), crop units."""
        first, size = torch.stack([self.left, self.top], -1), self.top.new_tensor((_WIDE, _HIGH))
        return (2 * first + size) / CELLS - 1


def _ramp(first: Tensor, cells: int, pixels: int) -> Tensor:
    """From 0 at either end of windows that begin at cell `first` (B,), to 1 within: (B, pixels)."""
    place = (centres(pixels, first) + 1) * (cells / 2)  # (pixels,) cells
    begin = torch.where(first[:, None] > 0, place / _SOFT, 1.0)
    end = torch.where(first[:, None] < CELLS - cells, (cells - place) / _SOFT, 1.0)
    return torch.minimum(begin, end).clamp(0, 1)
