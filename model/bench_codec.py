"""How fast the codec's Python is on this machine: a frame there and back, and the longest legal message.

A message of 32 frames is what a sender can make a receiver work for most. Its payload is decoded twice by turns: as
`MotionDecoder` does, and one `decode_laplace` a residual, which reads the same bits as docs/protocol.md tells them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.entropy import LaplaceRun, RangeDecoder, decode_laplace
from model.codec.frame_coding import FrameCoder, FrameState, decode_interval
from model.codec.packet import MAX_FRAMES, MotionMessage
from model.codec.rate import Rate
from model.codec.statistics import WIDTH_ORIGIN, MotionStatistics

_INTERVAL_MS = 40


class PlainRangeDecoder(RangeDecoder):
    """Reads one residual after the other, without tables of several."""

    def decode_residuals(self, runs: Sequence[LaplaceRun]) -> tuple[list[int], list[int]]:
        widths = [run.width for run in runs for _ in range(run.length)]
        residuals = [decode_laplace(self, width) for width in widths]
        places = [place for place, residual in enumerate(residuals) if residual]
        return places, [residuals[place] for place in places]


def codec_times(motion: MotionStatistics, repeats: int = 30) -> dict[str, Any]:
    """Medians: encode_frame_ms and decode_frame_ms of one frame a message; for 32 frames in one message of a head that
    rests and of one that moves as the statistics expect, bytes, milliseconds of the whole decoder and how many times
    the payload takes as long to read one residual after the other.
    """
    moving = _walk(motion, max(MAX_FRAMES, repeats))
    encode, decode = _frame_seconds(motion, moving)
    figures: dict[str, Any] = {"encode_frame_ms": round(1e3 * encode, 3), "decode_frame_ms": round(1e3 * decode, 3)}
    for name, vectors in (("resting", np.tile(motion.mean, (MAX_FRAMES, 1))), ("moving", moving[:MAX_FRAMES])):
        message = _message(motion, vectors)
        whole = statistics.median(_seconds(lambda m=message: MotionDecoder(motion).decode(m)) for _ in range(repeats))  # type: ignore[misc]
        figures[f"decode_32_{name}_bytes"] = len(message)
        figures[f"decode_32_{name}_ms"] = round(1e3 * whole, 3)
        figures[f"decode_32_{name}_ratio"] = round(_ratio(motion, message, repeats), 1)
    return figures


def _walk(motion: MotionStatistics, frames: int) -> NDArray[np.float32]:
    """Motion vectors (T, N) whose changes have the widths that are expected at 25 frames a second."""
    widths = 2.0 ** ((motion.widths[1].astype(np.float64) - WIDTH_ORIGIN) / 4)
    steps = np.random.default_rng(0).laplace(0.0, widths, (frames, motion.size))
    return motion.to_vectors(np.cumsum(steps, 0))


def _message(motion: MotionStatistics, vectors: NDArray[np.float32]) -> bytes:
    encoder = MotionEncoder(motion, Rate(frames_per_message=MAX_FRAMES), epoch=0)
    made = [encoder.encode(vector, index * _INTERVAL_MS) for index, vector in enumerate(vectors)]
    return next(message for message in [*made, encoder.flush()] if message is not None)


def _frame_seconds(motion: MotionStatistics, vectors: NDArray[np.float32]) -> tuple[float, float]:
    encoder, decoder = MotionEncoder(motion, epoch=0), MotionDecoder(motion)
    encoding, decoding = [], []
    for index, vector in enumerate(vectors):
        began = time.perf_counter()
        message = encoder.encode(vector, index * _INTERVAL_MS)
        encoded = time.perf_counter()
        decoder.decode(message or b"")
        decoding.append(time.perf_counter() - encoded)
        encoding.append(encoded - began)
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")
    return statistics.median(encoding), statistics.median(decoding)


def _ratio(motion: MotionStatistics, data: bytes, repeats: int) -> float:
    coder = FrameCoder(motion)
    ratios = []
    for _ in range(repeats):
        plain = _seconds(lambda: read_levels(coder, data, PlainRangeDecoder))
        ratios.append(plain / _seconds(lambda: read_levels(coder, data, RangeDecoder)))
    return statistics.median(ratios)


def read_levels(coder: FrameCoder, data: bytes, reader: type[RangeDecoder]) -> list[list[int]]:
    """Levels of each frame of a message that begins with an intra frame. Raises BitstreamError."""
    message, source = MotionMessage.open(data, reader)
    capture_ms, step_index, interval = message.capture_ms, message.step_index, None
    assert capture_ms is not None
    assert step_index is not None
    levels, previous = [], None
    for index in range(message.frames):
        if index:
            interval = decode_interval(source, interval)
            capture_ms = (capture_ms + interval) & 0xFFFFFFFF
        decoded = coder.decode(source, previous, capture_ms, step_index)
        previous = FrameState(index, capture_ms, 0, step_index, decoded)
        levels.append(decoded.tolist())
    source.finish()
    return levels


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
