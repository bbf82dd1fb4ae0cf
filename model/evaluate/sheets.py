"""Contact sheets: frames side by side in a PNG, for looking at. They go to the ignored folder `out/` only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_LABEL_HEIGHT = 14
_GAP = 2


def contact_sheet(rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]], tile: int = 192) -> Image.Image:
    """Rows of (label, frame uint8 (H, W, 3)), each frame scaled to a square of `tile` pixels under its label.

    Raises ValueError when there is nothing to show.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("a contact sheet needs frames")
    step_x, step_y = tile + _GAP, tile + _LABEL_HEIGHT + _GAP
    sheet = Image.new("RGB", (columns * step_x - _GAP, len(rows) * step_y - _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (label, frame) in enumerate(row):
            picture = Image.fromarray(np.ascontiguousarray(frame)).resize((tile, tile), Image.Resampling.LANCZOS)
            draw.text((x * step_x + 2, y * step_y + 1), label, fill="black")
            sheet.paste(picture, (x * step_x, y * step_y + _LABEL_HEIGHT))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
