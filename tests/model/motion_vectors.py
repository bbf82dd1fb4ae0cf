"""Builds tests/vectors/motion.json, the golden vectors that a second implementation must reproduce bit for bit.

    python -m tests.model.motion_vectors

writes the file anew; do that only when the format changes on purpose, with a new version in the message header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.entropy import LAPLACE_TABLES, RangeEncoder, encode_laplace
from model.codec.packet import VERSION, RefreshRequest
from model.codec.quantise import rescale
from model.codec.rate import Rate
from model.codec.statistics import RESIDUAL_FLOW_SCALARS, MotionStatistics

PATH = Path(__file__).parents[1] / "vectors" / "motion.json"
KEYPOINTS = 2
CHAINED_VECTORS = 12
STEP_INDEX = -5
"""Of the vectors, whatever that of a call is."""


def build() -> dict[str, Any]:
    """The vectors as JSON values."""
    statistics = MotionStatistics.default(KEYPOINTS)
    return {
        "version": VERSION,
        "laplace_cumulative": [LAPLACE_TABLES[t] for t in (0, 9, 20, 27)],
        "laplace_cumulative_widths": [0, 9, 20, 27],
        "laplace": _laplace(),
        "rescale": _rescale(),
        "statistics": {
            "mean": statistics.mean.tolist(),
            "importance": statistics.importance.tolist(),
            "units": [round(float(u), 6) for u in statistics.units],
            "basis": "identity",
            "widths": statistics.widths.tolist(),
        },
        "messages": _messages(statistics),
        "encoder": _encoder_steps(statistics),
        "chained": {
            "vectors": [_vector(i).tolist() for i in range(CHAINED_VECTORS)],
            "steps": _chained_steps(statistics),
        },
    }


def _laplace() -> list[dict[str, Any]]:
    residuals = [0, 0, 1, -1, 3, 14, -14, 15, -15, 100, -1000, 40000, -65534, 0, 0, 0, 7, -2]
    vectors = []
    for widths in ([0] * 18, [20] * 18, list(range(10, 46, 2)), [28, 31, 32, 47, 60, 83] * 3):
        coder = RangeEncoder()
        for residual, width in zip(residuals, widths, strict=True):
            encode_laplace(coder, residual, width)
        vectors.append({"residuals": residuals, "widths": widths, "bytes": coder.finish().hex()})
    return vectors


def _rescale() -> list[dict[str, Any]]:
    levels = [0, 1, -1, 2, 3, -5, 100, -101, 32767]
    steps = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, -1), (4, -4), (-24, 24), (24, -24), (5, -2)]
    return [{"from": a, "to": b, "in": levels, "out": rescale(np.array(levels), a, b).tolist()} for a, b in steps]


def _vector(index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A made-up motion: exact in binary, so that every machine quantises it alike."""
    pose = [
        4.0 * (index % 5) - 8.0,
        2.0 - index % 3,
        0.75 * (index % 2),
        1.0 + index / 64,
        index / 128,
        -index / 256,
        0,
    ]
    background = [index % 4 / 64, 0, -index / 512, index // 3]
    expression = [((index * 7 + 3 * i) % 11 - 5) / 256 for i in range(3 * KEYPOINTS)]
    residual_flow = [((index * 5 + 3 * i) % 9 - 4) / 512 if i % 8 == 0 else 0 for i in range(RESIDUAL_FLOW_SCALARS)]
    return np.array([*pose, *background, *expression, *residual_flow], np.float32)


def _messages(statistics: MotionStatistics) -> list[dict[str, Any]]:
    """A stream in the order in which the decoder sees it; after each message what it gives out and would answer."""
    encoder = MotionEncoder(statistics, Rate(STEP_INDEX), epoch=0xC0DE)
    decoder = MotionDecoder(statistics)
    vectors: list[dict[str, Any]] = []
    capture_ms = 0xFFFFFF00  # wraps within the stream

    def deliver(about: str, message: bytes | None) -> None:
        assert message is not None
        frames = decoder.decode(message)
        answer = decoder.acknowledgement()
        assert answer is not None
        vectors.append(
            {
                "about": about,
                "bytes": message.hex(),
                "frames": [
                    {
                        "sequence": f.sequence,
                        "capture_ms": f.capture_ms,
                        "source": f.source,
                        "levels": decoder.levels(f.sequence),
                        "vector": [round(float(v), 5) for v in f.vector],
                    }
                    for f in frames
                ],
                "answer": answer.hex(),
            }
        )

    def send(index: int, source: int = 0) -> bytes | None:
        nonlocal capture_ms
        capture_ms += 40 + index % 3
        return encoder.encode(_vector(index), capture_ms, source)

    deliver("intra frame", send(0))
    deliver("intra frame, nothing is acknowledged yet", send(1))
    encoder.on_acknowledgement(bytes.fromhex(vectors[-1]["answer"]))
    deliver("predicted from the acknowledged frame 1", send(2))
    encoder.rate = Rate(STEP_INDEX, repeat=2)
    deliver("repeats frame 2, then frame 3", send(3))
    lost = send(4)
    deliver("repeats frames 3 and 4 (whose message was lost), then frame 5", send(5))
    deliver("the lost message, late: nothing in it is new", lost)
    encoder.rate = Rate(STEP_INDEX, frames_per_message=4)
    assert send(6) is None
    assert send(7) is None
    assert send(8) is None
    deliver("bundle of four", send(9))
    encoder.on_acknowledgement(bytes.fromhex(vectors[-1]["answer"]))
    encoder.rate = Rate(step_index=-9)
    deliver("finer step: the reference is rescaled", send(10))
    deliver("another source image", send(11, source=3))
    capture_ms += 5000
    deliver("five seconds later", send(12))
    return vectors


def _encoder_steps(statistics: MotionStatistics) -> list[dict[str, Any]]:
    """What an encoder is given, one thing after the other, and the message that comes out of each frame."""
    encoder = MotionEncoder(statistics, Rate(STEP_INDEX), epoch=0xBEEF)
    decoder = MotionDecoder(statistics)
    steps: list[dict[str, Any]] = []
    capture_ms = 0xFFFFFE00  # wraps within the stream

    def change(rate: Rate) -> None:
        encoder.rate = rate
        steps.append(
            {
                "rate": {
                    "stepIndex": rate.step_index,
                    "framesPerMessage": rate.frames_per_message,
                    "repeat": rate.repeat,
                }
            }
        )

    def answer(data: bytes) -> None:
        encoder.on_acknowledgement(data)
        steps.append({"answer": data.hex()})

    def send(index: int, factor: float = 1.0, source: int = 0) -> None:
        nonlocal capture_ms
        capture_ms += 33 + index % 5
        vector = _vector(index) * np.float32(factor)
        message = encoder.encode(vector, capture_ms, source)
        if message is not None:
            decoder.decode(message)
        steps.append(
            {
                "vector": vector.tolist(),
                "capture_ms": capture_ms,
                "source": source,
                "bytes": None if message is None else message.hex(),
            }
        )

    for index in range(4):
        send(index)
    for rate in (
        Rate(STEP_INDEX),
        Rate(STEP_INDEX, repeat=2),
        Rate(STEP_INDEX, frames_per_message=3),
        Rate(step_index=6),
        Rate(step_index=-12, repeat=1),
    ):
        held = decoder.acknowledgement()
        assert held is not None
        answer(held)
        change(rate)
        for index in range(4, 10):
            send(index, source=index // 8)
    send(3, factor=64.0)  # escapes
    answer(RefreshRequest(0xBEEF, 0).serialize())
    send(3)
    message = encoder.flush()
    steps.append({"flush": None if message is None else message.hex()})
    return steps


def _chained_steps(statistics: MotionStatistics) -> list[dict[str, Any]]:
    """What another encoder is given: a line that is trusted, loses a message, is trusted again, and answers no more."""
    encoder = MotionEncoder(statistics, Rate(STEP_INDEX, frames_per_message=4), epoch=0x0BED)
    decoder = MotionDecoder(statistics)
    steps: list[dict[str, Any]] = []
    frames = 0

    def send(count: int, *, lost: bool = False) -> None:
        """A message of so many frames, which come 40 ms apart."""
        nonlocal frames
        for _ in range(count):
            index = frames % CHAINED_VECTORS
            assert encoder.encode(_vector(index), 40 * frames) is None
            steps.append({"index": index, "capture_ms": 40 * frames, "source": 0, "bytes": None})
            frames += 1
        message = encoder.flush()
        assert message is not None
        steps.append({"flush": message.hex()})
        if not lost:
            decoder.decode(message)

    def answer() -> None:
        data = decoder.acknowledgement()
        assert data is not None
        encoder.on_acknowledgement(data)
        steps.append({"answer": data.hex()})

    def talk(messages: int) -> None:
        for number in range(messages):
            send(1 + number % 2)
            if number % 3 == 2:
                answer()

    talk(24)
    send(1, lost=True)
    send(2)  # refused where it was chained
    answer()
    talk(6)
    answer()
    talk(200)  # 300 frames
    send(2)
    intra = decoder.intra_request()
    assert intra is not None
    encoder.on_acknowledgement(intra)
    steps.append({"answer": intra.hex()})
    talk(3)
    for _ in range(30):
        send(1)
    assert len(encoder.chained) > CHAINED_VECTORS
    return steps


def main() -> None:
    """Write the file."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n")


if __name__ == "__main__":
    main()
