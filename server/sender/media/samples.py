"""What capture and extraction hand on to a connection: plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MotionSample:
    """Motion of one captured frame."""

    vector: NDArray[np.float32]  # (139 + 3K,), Motion.to_vector
    capture_ms: float  # sender's monotonic clock
    source: int = 0  # index of the source image


@dataclass(frozen=True)
class SourceImage:
    """One source image, ready to upload."""

    index: int
    data: bytes  # WebP
    sha256: str
    content_type: str = "image/webp"


@dataclass(frozen=True)
class StageTimes:
    """Medians of the last frames, ms: camera to RGB picture, head and motion."""

    capture: float
    extract: float
