"""The frames that either side of the codec remembers, to predict from."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from model.codec.frame_coding import FrameState
from model.codec.packet import (
    MAX_REFERENCE_DISTANCE,
)
from model.codec.quantise import dequantise
from model.codec.statistics import MotionStatistics

HISTORY = 2 * (MAX_REFERENCE_DISTANCE + 1)
"""Frames that each side remembers: twice the reach of a reference, so that reordering loses none."""


class History:
    """The newest `HISTORY` frames by sequence number."""

    def __init__(self) -> None:
        self._frames: OrderedDict[int, FrameState] = OrderedDict()

    def get(self, sequence: int) -> FrameState | None:
        return self._frames.get(sequence & 0xFFFF)

    def add(self, frame: FrameState) -> None:
        self._frames[frame.sequence] = frame
        while len(self._frames) > HISTORY:
            self._frames.popitem(last=False)

    def __len__(self) -> int:
        return len(self._frames)


def vector_of(statistics: MotionStatistics, frame: FrameState) -> NDArray[np.float32]:
    """The motion vector (139 + 3K,) that a frame's levels stand for."""
    return statistics.to_vectors(dequantise(frame.levels, frame.step_index))
