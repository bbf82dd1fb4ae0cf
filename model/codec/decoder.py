"""Messages to motion vectors: references, duplicates, new epochs, and what to acknowledge."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.codec.entropy import RangeDecoder
from model.codec.frame_coding import FrameCoder, FrameState, decode_interval
from model.codec.history import HISTORY, History, vector_of
from model.codec.packet import (
    Acknowledgement,
    MotionMessage,
    RefreshRequest,
    sequence_distance,
)
from model.codec.statistics import MotionStatistics


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as the decoder gives it out."""

    sequence: int  # uint16
    capture_ms: int  # uint32, the sender's clock
    source: int  # index of the sender's source image
    vector: NDArray[np.float32]  # (139 + 3K,)


class MotionDecoder:
    """Turns messages into motion vectors; duplicates and late messages do no harm. A message that comes before the one
    that it is predicted from is dropped.
    """

    _RETIRED_EPOCHS = 2

    def __init__(self, statistics: MotionStatistics) -> None:
        self.statistics = statistics
        self._coder = FrameCoder(statistics)
        self._history = History()
        self._epoch: int | None = None
        self._retired: deque[int] = deque(maxlen=self._RETIRED_EPOCHS)
        self._newest: int | None = None
        self._refresh: RefreshRequest | None = None

    def decode(self, data: bytes) -> list[DecodedFrame]:
        """New frames of a message, oldest first.

        Empty when all of them are known or too old, when the reference is missing (`acknowledgement` then asks for an
        intra frame), or when the message is a straggler of an encoder that has been replaced.
        Raises BitstreamError on bytes that no encoder writes; the state is then as before.
        """
        message, coder = MotionMessage.open(data)
        epoch = self._epoch_of(message)
        if epoch in self._retired:
            return []
        restarted = epoch != self._epoch
        reference = None
        if message.reference:
            reference = None if restarted else self._history.get(message.sequence - message.reference)
            if reference is None:
                self._refresh = RefreshRequest(message.epoch & 0xFF, message.sequence)
                return []
        frames = self._decode_frames(message, coder, reference)
        if restarted:
            self._restart(message.epoch)
        fresh = [frame for frame in frames if self._is_fresh(frame.sequence)]
        for frame in fresh:
            self._history.add(frame)
            if self._newest is None or sequence_distance(frame.sequence, self._newest) > 0:
                self._newest = frame.sequence
        self._refresh = None
        return self._vectors(fresh)

    def acknowledgement(self) -> bytes | None:
        """What to send back to the encoder now, as often as the caller likes; None before the first message."""
        if self._refresh is not None:
            return self._refresh.serialize()
        if self._epoch is None or self._newest is None:
            return None
        received = 0
        for index in range(32):
            if self._history.get(self._newest - 1 - index) is not None:
                received |= 1 << index
        return Acknowledgement(self._epoch, self._newest, received).serialize()

    def intra_request(self) -> bytes | None:
        """What to send back in place of an acknowledgement, so that somebody else can begin to decode with the next
        message; None before the first one. It names a frame that nobody remembers: none was lost.
        """
        if self._epoch is None or self._newest is None:
            return None
        return RefreshRequest(self._epoch, (self._newest - HISTORY) & 0xFFFF).serialize()

    def levels(self, sequence: int) -> list[int] | None:
        """Levels (N) of a frame that is still remembered: what must agree bit for bit between implementations."""
        frame = self._history.get(sequence)
        return None if frame is None else frame.levels.tolist()

    def _epoch_of(self, message: MotionMessage) -> int:
        """Epoch of a message; of a short one, the known epoch that its eight bits fit, the present one first."""
        if message.short:
            for epoch in (self._epoch, *self._retired):
                if epoch is not None and epoch & 0xFF == message.epoch:
                    return epoch
            return -1
        return message.epoch

    def _decode_frames(
        self, message: MotionMessage, coder: RangeDecoder, reference: FrameState | None
    ) -> list[FrameState]:
        capture_ms, source, step_index = message.capture_ms, message.source, message.step_index
        if reference is not None:
            source = reference.source if source is None else source
            step_index = reference.step_index if step_index is None else step_index
            if capture_ms is None:
                capture_ms = (reference.capture_ms + (message.elapsed_ms or 0)) & 0xFFFFFFFF
        # Only a message with a reference leaves any of them out.
        assert capture_ms is not None
        assert source is not None
        assert step_index is not None
        frames: list[FrameState] = []
        previous, interval = reference, None
        for index in range(message.frames):
            if index:
                interval = decode_interval(coder, interval)
                capture_ms = (capture_ms + interval) & 0xFFFFFFFF
            levels = self._coder.decode(coder, previous, capture_ms, step_index)
            sequence = (message.sequence + index) & 0xFFFF
            previous = FrameState(sequence, capture_ms, source, step_index, levels)
            frames.append(previous)
        coder.finish()
        return frames

    def _vectors(self, frames: list[FrameState]) -> list[DecodedFrame]:
        """Frames of one message as they are given out; a head that stands still is computed once."""
        decoded: list[DecodedFrame] = []
        before: FrameState | None = None
        for frame in frames:
            if before is not None and frame.levels is before.levels:
                vector = decoded[-1].vector.copy()
            else:
                vector = vector_of(self.statistics, frame)
            decoded.append(DecodedFrame(frame.sequence, frame.capture_ms, frame.source, vector))
            before = frame
        return decoded

    def _is_fresh(self, sequence: int) -> bool:
        if self._newest is None:
            return True
        if sequence_distance(sequence, self._newest) <= -HISTORY // 2:
            return False
        return self._history.get(sequence) is None

    def _restart(self, epoch: int) -> None:
        if self._epoch is not None:
            self._retired.append(self._epoch)
        self._epoch = epoch
        self._history = History()
        self._newest = None
