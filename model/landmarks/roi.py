"""The rotated square of a frame that a network sees: from a detection, or from the landmarks of the frame before.

Coordinates are pixels of the frame, x right and y down. As MediaPipe has it, a square's corner lies where the centre of
its first sample is taken: half a sample off what a resize would do, and what the networks were trained with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.landmarks.indices import OUTER_CORNERS

AROUND = 1.5
"""Sides of the square in longer sides of the face's box (MediaPipe's RectTransformationCalculator)."""


@dataclass(frozen=True)
class Region:
    """A square of a frame; may reach beyond it."""

    x: float  # centre, pixels
    y: float
    side: float  # pixels
    angle: float = 0.0  # radians from the frame's x axis to the square's, clockwise as it is seen

    @classmethod
    def around(
        cls, x: float, y: float, longer: float, first: NDArray[np.floating], second: NDArray[np.floating]
    ) -> Region:
        """The square for a face's box with that centre and longer side, level with the line between two points (2,)."""
        return cls(x, y, AROUND * longer, math.atan2(second[1] - first[1], second[0] - first[0]))

    @classmethod
    def of_landmarks(cls, points: NDArray[np.float32]) -> Region:
        """Where the face with these landmarks (478, 3) will be in the next frame."""
        least, most = points[:, :2].min(0), points[:, :2].max(0)
        x, y = (least + most) / 2
        first, second = (points[index, :2] for index in OUTER_CORNERS)
        return cls.around(float(x), float(y), float((most - least).max()), first, second)

    @classmethod
    def whole(cls, width: int, height: int) -> Region:
        """The smallest upright square that holds a frame of that size."""
        return cls(width / 2, height / 2, max(width, height))

    def sample(self, frame: NDArray[np.uint8], size: int, beyond: Literal["border", "zeros"] = "border") -> Tensor:
        """Frame uint8 (H, W, 3) -> float32 (1, 3, size, size) in [0, 1], bilinear without antialiasing.

        beyond   the frame: its outermost pixels again, or black
        """
        height, width = frame.shape[:2]
        right, down = self._axes()
        corner = np.array([self.x, self.y]) - (right + down) / 2
        # Of the frame only what the square touches is turned into numbers.
        corners = np.stack([corner, corner + right, corner + down, corner + right + down])
        last = np.array([width, height]) - 1
        low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, np.maximum(last - 1, 0))
        high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, np.minimum(low + 1, last), last)
        part = np.array(frame[low[1] : high[1] + 1, low[0] : high[0] + 1])  # a copy: frames may be read-only
        picture = torch.from_numpy(part).permute(2, 0, 1)[None].float()

        scale = 2 / np.maximum(high - low, 1)  # from pixels to [-1, 1] between the centres of the part's outermost ones
        steps = np.stack([right * scale / size, down * scale / size, (corner - low) * scale - 1])
        across, along, start = torch.from_numpy(steps.astype(np.float32))
        axis = torch.arange(size)[:, None]
        places = (axis * along + start)[:, None] + axis * across  # (size, size, 2)
        return F.grid_sample(picture, places[None], mode="bilinear", padding_mode=beyond, align_corners=True) / 255

    def to_frame(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 2) or (..., 3) in sides of the square, from its corner, as pixels of the frame; z likewise."""
        right, down = self._axes()
        flat = np.array([self.x, self.y]) + (points[..., :1] - 0.5) * right + (points[..., 1:2] - 0.5) * down
        return np.concatenate([flat, points[..., 2:] * self.side], -1).astype(np.float32)

    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The square's upper and left side as vectors (2,), pixels."""
        cosine, sine = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        return np.array([cosine, sine]), np.array([-sine, cosine])
