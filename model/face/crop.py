"""The square crop: where it lies, how it is cut out of a frame and how a rendered crop goes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FACE_HEIGHTS = 2.2
"""Side of the crop in heights of the face, hairline to chin: hair, chin and shoulders fit."""

FACE_CENTRE_ABOVE = 0.1
"""The face's middle lies this many face heights above the crop's centre: hair needs less room than shoulders."""

FEATHER = 0.08
"""Width, in sides, of the edge along which a pasted crop fades into the frame."""


@dataclass(frozen=True)
class Crop:
    """A square of a frame in pixels; may reach beyond the frame, where edge pixels are repeated."""

    x: float  # centre, pixels from the left edge of the frame
    y: float  # centre, pixels from the top edge
    side: float  # pixels

    def cut(self, frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """The crop of a frame uint8 (H, W, 3), resized with antialiasing to uint8 (size, size, 3)."""
        height, width = frame.shape[:2]
        left, top = self.x - self.side / 2, self.y - self.side / 2
        # Whole pixels around the crop, beyond the frame too; the first and last row and column are repeated there.
        x0, y0 = int(np.floor(left)), int(np.floor(top))
        x1, y1 = max(int(np.ceil(left + self.side)), x0 + 1), max(int(np.ceil(top + self.side)), y0 + 1)
        if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
            region = frame[y0:y1, x0:x1]
        else:
            rows = np.clip(np.arange(y0, y1), 0, height - 1)
            region = frame[rows[:, None], np.clip(np.arange(x0, x1), 0, width - 1)]
        # The right edge is computed from the region's own size where rounding would put it outside.
        box = (left - x0, top - y0, min(left + self.side, x1) - x0, min(top + self.side, y1) - y0)
        image = Image.fromarray(region)
        # A gap of 1 averages whole pixels first where the crop is at least twice as large: 2 ms instead of 6, and less
        # than half a grey level away.
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=1.0))

    def motion_to(self, other: Crop) -> NDArray[np.float32]:
        """How far what stands still in the frame moves from this crop to another: (4,) as of `Motion.background`."""
        shift = np.array([self.x - other.x, self.y - other.y]) * 2 / other.side
        return np.array([*shift, np.log(self.side / other.side), 0.0], np.float32)

    def paste(self, frame: NDArray[np.uint8], rendered: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the frame uint8 (H, W, 3) with a rendered crop uint8 (S, S, 3) put back, edges feathered."""
        side = max(1, round(self.side))
        image = Image.fromarray(rendered).resize((side, side), Image.Resampling.BICUBIC)
        pasted = Image.fromarray(frame)
        pasted.paste(image, (round(self.x - side / 2), round(self.y - side / 2)), _feather(side))
        return np.array(pasted)


def whole(size: int) -> Crop:
    """The crop of a frame that is one already, `size` pixels a side."""
    return Crop(size / 2, size / 2, float(size))


def face_crop(x: float, y: float, tall: float, width: int, height: int) -> Crop:
    """The crop of a face with its middle at (x, y) and `tall` pixels from hairline to chin, in a frame width x height.

    It lies inside the frame, whose shorter side bounds it: repeated edge pixels look like nothing the model has seen.
    """
    side = min(FACE_HEIGHTS * tall, width, height)
    return Crop(_clamp(x, side, width), _clamp(y + FACE_CENTRE_ABOVE * tall, side, height), float(side))


def covering_crop(faces: NDArray[np.floating], width: int, height: int) -> Crop:
    """One crop for a whole clip: as `face_crop`, widened by the way that the head travels, kept inside the frame.

    faces   (N, 3), N >= 1: middle x, middle y and height of the face in pixels, wherever it was seen.
    The frame's shorter side bounds the crop.
    """
    tall = float(np.percentile(faces[:, 2], 90))
    low, high = faces[:, :2].min(0), faces[:, :2].max(0)
    travel = float((high - low).max())
    side = max(FACE_HEIGHTS * tall + 0.5 * travel, 1.5 * tall + travel)
    side = min(side, width, height)
    x, y = (low + high) / 2
    y += FACE_CENTRE_ABOVE * tall
    return Crop(_clamp(float(x), side, width), _clamp(float(y), side, height), float(side))


def _clamp(centre: float, side: float, length: int) -> float:
    return min(max(centre, side / 2), length - side / 2)


@lru_cache(maxsize=8)
def _feather(side: int) -> Image.Image:
    """Weight of a pasted crop, side x side: 255 inside, down to 0 at the edge without a visible kink."""
    edge = np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side)) / max(1.0, FEATHER * side)
    ramp = np.clip(edge, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return Image.fromarray(np.rint(255 * ramp[:, None] * ramp[None]).astype(np.uint8))
