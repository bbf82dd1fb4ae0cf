"""The square crop: where it lies, how it is cut out of a frame and how a rendered crop goes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FACE_HEIGHTS = 2.2
"""Side of the crop in heights of the face, forehead to chin: hair, chin and shoulders fit."""

FACE_CENTRE_ABOVE = 0.1
"""The face's centre lies this many face heights above the crop's centre: hair needs less room than shoulders."""


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
        right, bottom = left + self.side, top + self.side
        beyond = [max(0, int(np.ceil(a))) for a in (-left, -top, right - width, bottom - height)]
        if any(beyond):
            frame = np.pad(frame, ((beyond[1], beyond[3]), (beyond[0], beyond[2]), (0, 0)), mode="edge")
            left, right, top, bottom = left + beyond[0], right + beyond[0], top + beyond[1], bottom + beyond[1]
        image = Image.fromarray(frame)
        box = (left, top, min(right, image.width), min(bottom, image.height))
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
