"""How well a frame of a video serves as source image: sharp, frontal, eyes open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.motion import Motion

_SHARP = 60.0  # Laplacian variance of a webcam face in focus that scores one half, 8-bit luma at 256 px
_FRONTAL_DEGREES = 15.0
_EYES_OPEN = 0.25  # lid distance in eye widths that counts as open


@dataclass(frozen=True)
class Quality:
    """How well a frame serves as source image; each in [0, 1]."""

    sharpness: float
    frontality: float
    eyes: float

    @property
    def clarity(self) -> float:
        """Quality whatever the pose."""
        return self.sharpness * self.eyes

    @property
    def score(self) -> float:
        """One number to compare by."""
        return self.sharpness * self.frontality * self.eyes


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Sharpness in [0, 1) of a crop (S, S, 3): variance of the 4-neighbour Laplacian of luma, saturating."""
    luma = crop[..., 1].astype(np.float32)  # green carries most of luma, and is what a Bayer sensor samples finest
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4.0 * inner
    variance = float(laplacian.var())
    return variance / (variance + _SHARP)


def quality(crop: NDArray[np.uint8], motion: Motion, eye_openness: float) -> Quality:
    """Judge one frame: its crop (S, S, 3), its motion (no batch shape) and how open its eyes are, in eye widths."""
    angle2 = float(motion.yaw) ** 2 + float(motion.pitch) ** 2 + 0.5 * float(motion.roll) ** 2
    return Quality(
        sharpness=sharpness(crop),
        frontality=float(np.exp(-angle2 / (2 * _FRONTAL_DEGREES**2))),
        eyes=float(np.clip(eye_openness / _EYES_OPEN, 0.0, 1.0)),
    )
