"""Video files: times, rates, sound and its alignment."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.media.video import (
    OPUS_PRE_SKIP,
    VideoWriter,
    audio_channels,
    constant_rate,
    encode_opus,
    read_audio,
    read_frames,
)
from tests.model.clips import write_clip, write_turned


def test_constant_rates_are_recognised() -> None:
    for rate in (Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2)):
        exact = [index / rate for index in range(300)]
        assert constant_rate(exact) == rate
        assert constant_rate([Fraction(round(t * 1000), 1000) for t in exact]) == rate


def test_variable_rates_are_recognised() -> None:
    assert constant_rate([Fraction(t, 1000) for t in (0, 40, 80, 160, 200)]) is None
    assert constant_rate([Fraction(0)]) is None
    assert constant_rate([Fraction(0), Fraction(0)]) is None


def test_lossless_writing_is_lossless(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 33, 47, 3), np.uint8)
    path = tmp_path / "clip.mkv"
    with VideoWriter(path, (47, 33), Fraction(25), lossless=True) as writer:
        for index, picture in enumerate(pictures):
            writer.frame(picture, Fraction(index, 25))
    np.testing.assert_array_equal([timed.rgb() for timed in read_frames(path)], pictures)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_times_survive(tmp_path: Path, suffix: str) -> None:
    times = [Fraction(t, 1000) for t in (0, 40, 45, 200, 233, 1000)]
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, (32, 32), None) as writer:
        for time in times:
            writer.frame(np.zeros((32, 32, 3), np.uint8), time, Fraction(1, 25))
    assert [timed.time for timed in read_frames(path)] == times


@pytest.mark.parametrize("turns", range(4))
def test_a_film_made_sideways_is_upright(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "phone.mp4"
    expected = write_turned(path, turns)
    pictures = [timed.rgb() for timed in read_frames(path)]
    assert {picture.shape for picture in pictures} == {expected.shape}
    for picture in pictures:
        assert np.abs(picture.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("offset", [0.0, 0.25, -0.1])
def test_sound_is_aligned_with_the_first_frame(tmp_path: Path, offset: float) -> None:
    path = tmp_path / "clip.mkv"
    times = [100 + 40 * i for i in range(25)]  # the video starts late, the sound at its own time
    write_clip(path, times, beep_at=0.6, audio_offset=0.1 + offset)
    assert audio_channels(path) == 1
    samples = np.concatenate(list(read_audio(path, 1, Fraction(1))))
    assert samples.shape == (48_000, 1)
    onset = int(np.flatnonzero(np.abs(samples[:, 0]) > 0.1)[0]) / 48_000
    assert onset == pytest.approx(0.5, abs=0.01)


def test_opus_packets_are_contiguous() -> None:
    pieces = iter([np.zeros((700, 2), np.float32)] * 20)
    packets = list(encode_opus(pieces, 2))
    assert packets[0].start == -OPUS_PRE_SKIP
    for before, after in pairwise(packets):
        assert after.start == before.start + before.duration
    assert packets[-1].start + packets[-1].duration >= 14_000


def test_unreadable_files_are_input_errors(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(bytes(range(256)) * 8)
    whole = tmp_path / "whole.mp4"
    write_clip(whole, [0, 40, 80])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-400])
    for path in (junk, cut, tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            list(read_frames(path))


def test_unwritable_container(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        VideoWriter(tmp_path / "clip.txt.unknown", (32, 32), Fraction(25))
