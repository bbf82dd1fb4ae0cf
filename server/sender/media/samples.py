"""What capture and extraction hand on to a connection: plain values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.codec.source_image import content_type

MAX_SOURCES = 4
"""Sources of one participant; the receiver keeps as many (`max_sources` in server/settings.py)."""


@dataclass(frozen=True)
class MotionSample:
    """Motion of one captured frame."""

    vector: NDArray[np.float32]  # (139 + 3K,), Motion.to_vector
    captured: float  # seconds of the sender's monotonic clock
    source: int = 0  # index of the source image


@dataclass(frozen=True)
class SourceImage:
    """One source image, ready to upload."""

    index: int
    data: bytes
    scene: int = 0  # 0 ... 255: windows of the same scene show the same person

    @cached_property
    def sha256(self) -> str:
        """By which the receiver knows the image, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def content_type(self) -> str:
        """Media type of the upload."""
        return content_type(self.data) or "application/octet-stream"


@dataclass(frozen=True)
class WindowUpload:
    """One window, ready to upload; it takes the place of the one in its slot."""

    slot: int
    data: bytes
    scene: int = 0  # as `SourceImage.scene`


@dataclass(frozen=True)
class StageTimes:
    """Medians of the last frames, seconds: camera to RGB picture, head and motion."""

    capture: float
    extract: float
