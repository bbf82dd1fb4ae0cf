"""Motion vectors to messages: what to predict from, what to repeat, and when to start afresh.

The encoder predicts the first frame of a message from the newest frame that the decoder has acknowledged, or from
nothing; the other frames of the message from the one before. So a lost message breaks no later one; on a line that has
lost nothing lately it may break one (`chaining.py`). Repeated frames carry the very levels they carried first: a frame
is the same whichever message brought it.
Over a channel that loses nothing (a file) `chain=True` predicts from the frame before, acknowledged or not.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.codec.chaining import Chaining
from model.codec.entropy import RangeEncoder
from model.codec.frame_coding import FrameCoder, FrameState, encode_interval
from model.codec.history import History, vector_of
from model.codec.packet import (
    MAX_INTERVAL_MS,
    MAX_MESSAGE_BYTES,
    MAX_REFERENCE_DISTANCE,
    MOTION_HEADER_BYTES,
    Acknowledgement,
    MotionMessage,
    RefreshRequest,
    parse_message,
    sequence_distance,
)
from model.codec.quantise import MAX_LEVEL, MAX_STEP_INDEX, rescale
from model.codec.rate import Rate, StepControl
from model.codec.statistics import MotionStatistics
from model.errors import BitstreamError

_BUNDLE_BITS = 8 * (MAX_MESSAGE_BYTES - MOTION_HEADER_BYTES) * 0.9  # estimated; `_assemble` makes sure


class MotionEncoder:
    """Turns motion vectors into messages of the motion channel."""

    def __init__(
        self, statistics: MotionStatistics, rate: Rate | None = None, *, chain: bool = False, epoch: int | None = None
    ) -> None:
        """`epoch` (uint16) names this encoder to decoders; by default it is drawn at random."""
        self.statistics = statistics
        self.chain = chain
        self.epoch = secrets.randbelow(0x10000) if epoch is None else epoch & 0xFFFF
        self._coder = FrameCoder(statistics)
        self._history = History()
        self._pending: list[FrameState] = []
        self._pending_bits = 0.0
        self._next_sequence = 0
        self._last: FrameState | None = None
        self._acknowledged: FrameState | None = None
        self._acknowledgement: Acknowledgement | None = None
        self._chaining = Chaining()
        self.rate = rate or Rate()

    @property
    def rate(self) -> Rate:
        """Rate in use; a new one takes effect with the next message."""
        return self._rate

    @rate.setter
    def rate(self, rate: Rate) -> None:
        self._rate = rate
        self._control = StepControl(rate)

    @property
    def reconstructed(self) -> NDArray[np.float32] | None:
        """The last coded frame as the decoder will see it, (139 + 3K,); None before the first."""
        return None if self._last is None else vector_of(self.statistics, self._last)

    @property
    def loss(self) -> float:
        """Share of the 32 frames before the newest acknowledged one that the decoder lacks, 0 ... 1."""
        newest = self._acknowledgement
        if newest is None:
            return 0.0
        # Frames before the first of the stream never existed and do not count as lost.
        sent = [i for i in range(32) if self._history.get(newest.sequence - 1 - i) is not None]
        return sum(not newest.received >> i & 1 for i in sent) / len(sent) if sent else 0.0

    @property
    def chained(self) -> tuple[int, ...]:
        """Sequence numbers of the first frames of the latest messages that were predicted from the one before."""
        return self._chaining.latest

    def encode(self, vector: NDArray[np.floating], capture_ms: int, source: int = 0) -> bytes | None:
        """Take one frame; return a message when one is due, None while bundling or when the frame rate leaves it out.

        `vector` (139 + 3K,) as of `Motion.to_vector`; `capture_ms` wraps at 2^32; `source` 0 ... 255 is the source
        image to drive. Raises ValueError on a vector of another size or with values that are not finite.
        """
        if vector.shape != (self.statistics.size,) or not np.isfinite(vector).all():
            raise ValueError(f"a motion vector of this model has {self.statistics.size} finite scalars")
        capture_ms &= 0xFFFFFFFF
        if self._leaves_out(capture_ms):
            return None
        message = self._make_room(capture_ms, source)
        levels = self._coder.choose_levels(
            self.statistics.to_coefficients(vector), capture_ms, self._step_index, self._predecessor, self._last
        )
        return self._add(levels, capture_ms, source, message)

    def encode_levels(self, levels: NDArray[np.int64], capture_ms: int, source: int = 0) -> bytes | None:
        """As `encode`, of a frame whose levels (N,) at the rate's step are chosen already (`trellis.py`)."""
        if levels.shape != (self.statistics.size,) or np.abs(levels).max() > MAX_LEVEL:
            raise ValueError(f"a frame of this model has {self.statistics.size} levels of at most {MAX_LEVEL}")
        capture_ms &= 0xFFFFFFFF
        return self._add(levels, capture_ms, source, self._make_room(capture_ms, source))

    def _make_room(self, capture_ms: int, source: int) -> bytes | None:
        """The message of the frames that wait, where one of that time and source cannot join them."""
        if not 0 <= source <= 255:
            raise ValueError(f"source index {source} is not within 0 ... 255")
        if not self._pending:
            return None
        last = self._pending[-1]
        fits = last.source == source and (capture_ms - last.capture_ms) & 0xFFFFFFFF <= MAX_INTERVAL_MS
        return None if fits else self._emit()

    def _add(self, levels: NDArray[np.int64], capture_ms: int, source: int, message: bytes | None) -> bytes | None:
        """Let a frame wait for its message; that message, or `message`, which was made before."""
        frame = FrameState(self._next_sequence, capture_ms, source, self._step_index, levels)
        bits = self._coder.bits(frame, self._predecessor) if self._rate.frames_per_message > 1 else 0.0
        if self._pending and self._pending_bits + bits > _BUNDLE_BITS:
            # Nothing was waiting that would have made `message`: the frame may join these.
            message = self._emit()
        self._pending.append(frame)
        self._pending_bits += bits
        self._last = frame
        self._next_sequence = (self._next_sequence + 1) & 0xFFFF
        if message is None and len(self._pending) >= self._rate.frames_per_message:
            message = self._emit()
        return message

    def flush(self) -> bytes | None:
        """The message of the frames that wait for their bundle to fill, or None."""
        return self._emit() if self._pending else None

    def on_acknowledgement(self, data: bytes) -> None:
        """Take what the decoder sent back; what is for another encoder, or older than one seen, is ignored.

        Raises BitstreamError when it is neither an acknowledgement nor a refresh request.
        """
        message = parse_message(data)
        if isinstance(message, MotionMessage):
            raise BitstreamError("a motion message came where an acknowledgement belongs")
        if isinstance(message, RefreshRequest):
            if message.epoch == self.epoch & 0xFF:
                if self._history.get(message.sequence) is not None:
                    self._chaining.lost()
                if not self._chaining.is_chained(message.sequence):
                    self._acknowledged = None
            return
        if message.epoch != self.epoch:
            return
        frame = self._history.get(message.sequence)
        if frame is None:
            return
        newest = self._acknowledgement
        if newest is None or sequence_distance(message.sequence, newest.sequence) >= 0:
            self._acknowledgement = message
            self._acknowledged = frame
            if self.loss:
                self._chaining.lost()

    def _leaves_out(self, capture_ms: int) -> bool:
        if self._rate.frames_per_second is None or self._last is None:
            return False
        elapsed = (capture_ms - self._last.capture_ms) & 0xFFFFFFFF
        # A quarter of an interval of tolerance, so that a jittering camera at the very rate loses no frame.
        return elapsed < 750.0 / self._rate.frames_per_second

    @property
    def _step_index(self) -> int:
        """Step of the next frame: one message has one."""
        return self._pending[-1].step_index if self._pending else self._control.step_index

    @property
    def _predecessor(self) -> FrameState | None:
        """What the next frame is predicted from."""
        return self._pending[-1] if self._pending else self._reference(self._next_sequence)

    def _reference(self, first: int) -> FrameState | None:
        """The frame that a message starting at sequence number `first` is predicted from."""
        frame = self._history.get(first - 1) if self.chain or self._chains(first) else self._acknowledged
        if frame is None or not 1 <= sequence_distance(first, frame.sequence) <= MAX_REFERENCE_DISTANCE:
            return None
        return frame

    def _chains(self, first: int) -> bool:
        """Whether that message is predicted from the one before, though nobody knows that it has arrived."""
        known = self._acknowledged
        if known is None or self._rate.repeat:
            return False
        return self._chaining.allows(sequence_distance(first, known.sequence))

    def _emit(self) -> bytes:
        frames, self._pending, self._pending_bits = self._pending, [], 0.0
        chained = self._chains(frames[0].sequence)
        data, sent = self._assemble(frames)
        self._chaining.sent(frames[0].sequence, len(sent), chained)
        before = self._history.get(sent[0].sequence - 1)
        if before is not None:  # the first message's duration is not known yet
            self._control.sent((sent[-1].capture_ms - before.capture_ms) & 0xFFFFFFFF, len(data))
        for frame in sent:
            self._history.add(frame)
        if self._last is not None and self._last.sequence == sent[-1].sequence:
            self._last = sent[-1]
        return data

    def _assemble(self, frames: list[FrameState]) -> tuple[bytes, list[FrameState]]:
        """The message of new `frames`, and these as they were sent: coarser when they would not fit otherwise."""
        repeated = self._repeated(frames[0])
        while True:
            data = self._serialize(repeated + frames)
            if len(data) <= MAX_MESSAGE_BYTES:
                return data, frames
            if repeated:
                repeated = repeated[1:]
                continue
            coarser = frames[0].step_index + 2
            if coarser > MAX_STEP_INDEX:
                raise ValueError("the motion of one message does not fit even at the coarsest step")
            frames = [replace(f, step_index=coarser, levels=rescale(f.levels, f.step_index, coarser)) for f in frames]

    def _repeated(self, first: FrameState) -> list[FrameState]:
        """Earlier frames to send again before `first`, oldest first; none that the decoder has already."""
        frames: list[FrameState] = []
        later = first
        while not self.chain and len(frames) < self._rate.repeat:
            frame = self._history.get(later.sequence - 1)
            if frame is None or frame.source != first.source or frame.step_index != first.step_index:
                break
            if (later.capture_ms - frame.capture_ms) & 0xFFFFFFFF > MAX_INTERVAL_MS:
                break
            acknowledged = self._acknowledged
            if acknowledged is not None and sequence_distance(frame.sequence, acknowledged.sequence) <= 0:
                break
            frames.insert(0, frame)
            later = frame
        return frames

    def _serialize(self, frames: list[FrameState]) -> bytes:
        first = frames[0]
        reference = self._reference(first.sequence)

        def write_frames(coder: RangeEncoder) -> None:
            previous, interval = reference, None
            for index, frame in enumerate(frames):
                if index:
                    assert previous is not None
                    gap = (frame.capture_ms - previous.capture_ms) & 0xFFFFFFFF
                    encode_interval(coder, gap, interval)
                    interval = gap
                self._coder.encode(coder, frame, previous)
                previous = frame

        return self._header(first, reference, len(frames)).write(write_frames)

    def _header(self, first: FrameState, reference: FrameState | None, frames: int) -> MotionMessage:
        """In a file each message stands alone: a reader knows its time without those before."""
        if reference is None:
            return MotionMessage(
                self.epoch, first.sequence, 0, frames, first.source, first.step_index, first.capture_ms
            )
        distance = sequence_distance(first.sequence, reference.sequence)
        elapsed_ms = (first.capture_ms - reference.capture_ms) & 0xFFFFFFFF
        if self.chain or elapsed_ms > MAX_INTERVAL_MS:
            return MotionMessage(
                self.epoch, first.sequence, distance, frames, first.source, first.step_index, first.capture_ms
            )
        source = None if first.source == reference.source else first.source
        step_index = None if first.step_index == reference.step_index else first.step_index
        return MotionMessage(self.epoch & 0xFF, first.sequence, distance, frames, source, step_index, None, elapsed_ms)
