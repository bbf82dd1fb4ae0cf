"""Motion over a call's channel: what is lost is held, the first message arrives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.evaluate.channel import send

KEYPOINTS = 10
SIZE = 139 + 3 * KEYPOINTS


@pytest.fixture(scope="module")
def statistics() -> MotionStatistics:
    return MotionStatistics.default(KEYPOINTS)


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """(40, SIZE), each frame a little further."""
    steps = np.random.default_rng(0).normal(0, 0.003, (40, SIZE)).astype(np.float32)
    moved = steps.cumsum(0).astype(np.float32)
    moved[:, 3] += 1
    return moved


def test_a_lost_frame_repeats_the_one_before(statistics: MotionStatistics, vectors: NDArray[np.float32]) -> None:
    whole, lossy = send(statistics, vectors, Rate()), send(statistics, vectors, Rate(), loss=0.3)
    assert len(lossy.messages) == len(whole.messages) == len(vectors)  # they were sent, and count
    assert lossy.vectors.shape == vectors.shape
    held = [bool((now == before).all()) for before, now in zip(lossy.vectors, lossy.vectors[1:], strict=False)]
    assert 4 <= sum(held) <= 24
    assert not any((now == before).all() for before, now in zip(whole.vectors, whole.vectors[1:], strict=False))
    for index in np.flatnonzero(~np.array(held)) + 1:  # what arrives is as good as without loss
        assert np.abs(lossy.vectors[index] - vectors[index]).mean() < 0.02
    again = send(statistics, vectors, Rate(), loss=0.3)
    np.testing.assert_array_equal(again.vectors, lossy.vectors)


def test_the_first_message_arrives_whatever_is_lost(statistics: MotionStatistics, vectors: NDArray[np.float32]) -> None:
    nothing_else = send(statistics, vectors, Rate(), loss=1.0)
    whole = send(statistics, vectors, Rate())
    np.testing.assert_array_equal(nothing_else.vectors, np.repeat(whole.vectors[:1], len(vectors), 0))
    assert nothing_else.kbps() > 0


def test_frames_that_the_rate_leaves_out_repeat_the_one_before(
    statistics: MotionStatistics, vectors: NDArray[np.float32]
) -> None:
    slow = send(statistics, vectors, Rate(frames_per_second=12.5))
    assert len(slow.messages) == len(vectors) // 2
    np.testing.assert_array_equal(slow.vectors[1::2], slow.vectors[::2])


def test_behind_the_voice_a_message_holds_one_or_two_frames(
    statistics: MotionStatistics, vectors: NDArray[np.float32]
) -> None:
    single, behind = send(statistics, vectors, Rate()), send(statistics, vectors, Rate(), behind_voice=True)
    assert len(behind.messages) == 27  # packets of 60 ms in 1,600 ms
    assert behind.kbps() < single.kbps()
    assert np.abs(behind.vectors - vectors).mean() < 0.02
