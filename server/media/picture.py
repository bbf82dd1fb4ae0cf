"""A picture on its way from playout to the packets, and the times that it carries along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.uint8]
"""Planar YUV 4:2:0 as in `model.media.colour`, (3H/2, W): rows of Y, U, V. Never written to once shown."""


@dataclass(frozen=True)
class PictureTimes:
    """Where the time of one picture went. Each stage returns a copy with its own field filled in."""

    played: float  # when it was due, seconds of the receiver's clock
    captured: float | None = None  # when what it shows was captured, same clock; None where the relation is unknown
    queue: float = 0.0  # seconds between asking the render engine and the start of the batch
    render: float = 0.0  # seconds of the batch
    encode: float = 0.0  # seconds in the encoder, with the wait for its thread


@dataclass(frozen=True)
class TimedPicture:
    """What `Broadcast.show` takes."""

    planes: Planes
    pts: int  # 90 kHz ticks, one origin for all views of a publication
    times: PictureTimes | None = None  # None where they say nothing of latency: camera pictures, held pictures
