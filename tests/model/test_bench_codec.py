"""The codec's own times: what is measured is what docs/performance.md names, and both readers read the same levels."""

from __future__ import annotations

import numpy as np

from model.bench_codec import PlainRangeDecoder, codec_times, read_levels
from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.entropy import RangeDecoder
from model.codec.frame_coding import FrameCoder
from model.codec.packet import MAX_FRAMES
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from tests.model.codec.test_statistics import walk


def test_figures() -> None:
    figures = codec_times(MotionStatistics.default(3), repeats=3)
    assert figures["decode_32_resting_bytes"] < figures["decode_32_moving_bytes"]
    assert all(figures[f"decode_32_{name}_{what}"] > 0 for name in ("resting", "moving") for what in ("ms", "ratio"))
    assert figures["encode_frame_ms"] > 0
    assert figures["decode_frame_ms"] > 0


def test_both_readers_agree() -> None:
    motion = MotionStatistics.fit([walk(60, 3)], [25.0])
    encoder = MotionEncoder(motion, Rate(frames_per_message=MAX_FRAMES), epoch=0)
    (data,) = [m for i, vector in enumerate(walk(MAX_FRAMES, 3)) if (m := encoder.encode(np.asarray(vector), i * 40))]
    coder = FrameCoder(motion)
    assert read_levels(coder, data, RangeDecoder) == read_levels(coder, data, PlainRangeDecoder)


def test_frames_that_rest_share_no_vector() -> None:
    motion = MotionStatistics.default(3)
    encoder, decoder = MotionEncoder(motion, Rate(frames_per_message=4), epoch=0), MotionDecoder(motion)
    (data,) = [m for i in range(4) if (m := encoder.encode(motion.mean, i * 40))]
    first, second, *_ = decoder.decode(data)
    np.testing.assert_array_equal(first.vector, second.vector)
    first.vector[0] = 90.0
    assert second.vector[0] != 90.0
