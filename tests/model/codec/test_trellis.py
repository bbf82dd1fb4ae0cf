"""Levels of a clip that are chosen by what comes later, and those of a call, which are chosen one frame at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from model.codec import trellis
from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.frame_coding import FrameCoder, FrameState
from model.codec.quantise import quantise, step_factor
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.codec.trellis import clip_levels
from tests.model.codec.test_statistics import walk

K, STEP = 4, -5
STATISTICS = MotionStatistics.fit([walk(100, K, seed) for seed in range(3)], [25.0] * 3)
VECTORS = walk(150, K, 9)
TIMES = [40 * index for index in range(len(VECTORS))]


def coded(levels: list[NDArray[np.int64]]) -> tuple[int, float]:
    """Bytes of a file's messages, and the mean squared error of what a decoder gives of them, in units."""
    encoder = MotionEncoder(STATISTICS, Rate(STEP, frames_per_message=25), chain=True, epoch=0)
    decoder = MotionDecoder(STATISTICS)
    made = [encoder.encode_levels(frame, ms) for frame, ms in zip(levels, TIMES, strict=True)]
    messages = [message for message in [*made, encoder.flush()] if message is not None]
    decoded = np.stack([frame.vector for message in messages for frame in decoder.decode(message)])
    error = STATISTICS.to_coefficients(decoded) - STATISTICS.to_coefficients(VECTORS)
    return sum(map(len, messages)), float((error**2).mean())


def rounded(zone: float) -> list[NDArray[np.int64]]:
    """Levels with a dead zone, frame by frame."""
    levels: list[NDArray[np.int64]] = []
    for coefficients in STATISTICS.to_coefficients(VECTORS):
        wanted = coefficients / step_factor(STEP)
        held = levels[-1] if levels else np.zeros(wanted.shape, np.int64)
        levels.append(np.where(np.abs(wanted - held) <= zone, held, np.rint(wanted).astype(np.int64)))
    return levels


def test_looking_ahead_takes_fewer_bits_for_the_same_error() -> None:
    size, error = coded(list(clip_levels(STATISTICS, VECTORS, TIMES, STEP)))
    for zone in (0.5, 0.6, 0.75, 0.9):
        other_size, other_error = coded(rounded(zone))
        assert size < 0.9 * other_size or error < other_error


def test_windows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clip that is settled in pieces, as of one that is settled at once, each frame has its levels."""
    whole = np.stack(list(clip_levels(STATISTICS, VECTORS, TIMES, STEP)))
    monkeypatch.setattr(trellis, "WINDOW", 40)
    monkeypatch.setattr(trellis, "AHEAD", 20)
    pieces = np.stack(list(clip_levels(STATISTICS, VECTORS, TIMES, STEP)))
    assert pieces.shape == whole.shape
    assert (pieces != whole).mean() < 0.01


def test_no_level_is_far_from_what_it_stands_for() -> None:
    wanted = STATISTICS.to_coefficients(VECTORS) / step_factor(STEP)
    for frame, levels in zip(wanted, clip_levels(STATISTICS, VECTORS, TIMES, STEP), strict=True):
        assert np.abs(frame - levels).max() <= trellis.CANDIDATES / 2


def test_levels_may_only_be_those_of_the_model() -> None:
    encoder = MotionEncoder(STATISTICS, Rate(STEP), chain=True, epoch=0)
    for levels in (np.zeros(3, np.int64), np.full(STATISTICS.size, 40_000)):
        with pytest.raises(ValueError, match="levels"):
            encoder.encode_levels(levels, 0)


def test_a_call_weighs_error_against_bits() -> None:
    """What costs many bits and mends little stays as predicted; what is far off does not."""
    coder, still = FrameCoder(STATISTICS), np.zeros(STATISTICS.size, np.int64)
    reference = FrameState(0, 0, 0, 0, still)
    rare = int(np.argmin(STATISTICS.widths[4]))
    for steps, level in ((0.7, 0), (1.55, 1), (6.0, 6)):
        coefficients = np.zeros(STATISTICS.size)
        coefficients[rare] = steps
        chosen = coder.choose_levels(coefficients, 200, 0, reference, None)
        assert chosen[rare] == level
        assert not np.delete(chosen, rare).any()
    assert quantise(np.array([0.7]), 0).tolist() == [1]


def test_a_level_between_two_does_not_toggle() -> None:
    """A coefficient that trembles around the middle of two levels keeps the one it has."""
    coder, generator = FrameCoder(STATISTICS), np.random.default_rng(0)
    reference = FrameState(0, 0, 0, 0, np.zeros(STATISTICS.size, np.int64))
    last, changes = reference, 0
    for index in range(1, 100):
        coefficients = np.full(STATISTICS.size, 0.5) + generator.normal(0, 0.05, STATISTICS.size)
        levels = coder.choose_levels(coefficients, 40 * index, 0, reference, last)
        changes += int((levels != last.levels).sum()) if index > 1 else 0
        last = FrameState(index, 40 * index, 0, 0, levels)
    assert changes < 0.02 * 98 * STATISTICS.size


def test_more_precision_takes_more_bits() -> None:
    sizes = []
    for step in (-8, -4, 0, 4):
        encoder = MotionEncoder(STATISTICS, Rate(step), chain=True, epoch=0)
        levels = clip_levels(STATISTICS, VECTORS, TIMES, step)
        sizes.append(sum(len(encoder.encode_levels(f, ms) or b"") for f, ms in zip(levels, TIMES, strict=True)))
    assert all(finer > coarser for finer, coarser in pairwise(sizes))
