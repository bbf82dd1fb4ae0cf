"""Which frames of a clip may become its source image, and what makes a frame a good one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.clip.encoder import EncodeFiles, EncodeOptions, encode_clip
from model.codec.source_image import decode_source
from model.face.finder import HeadFinder
from model.motion import CanonicalKeypoints, Motion
from model.source.clip_choice import CANDIDATE_EVERY, MOST_CANDIDATES, SourceSearch, central
from model.source.quality import Quality, quality, sharpness
from model.talking_head import TalkingHead
from tests.model.clips import portrait, write_clip

KEYPOINTS = 4


def motion(yaw: float = 0.0) -> Motion:
    zero = np.float32(0)
    still = np.zeros((KEYPOINTS, 3), np.float32)
    return Motion(np.float32(yaw), zero, zero, np.zeros(3, np.float32), np.float32(1), still)


def test_sharp_frontal_open_eyed_frames_score_higher() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (64, 64, 3), np.uint8)
    blurred = np.asarray(sharp.reshape(16, 4, 16, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1), np.uint8)
    assert 0.0 <= sharpness(np.zeros((8, 8, 3), np.uint8)) < sharpness(blurred) < sharpness(sharp) < 1.0
    best = quality(sharp, motion(), 0.3)
    assert best.score > quality(blurred, motion(), 0.3).score
    assert best.score > quality(sharp, motion(yaw=25.0), 0.3).score
    assert best.score > quality(sharp, motion(), 0.1).score
    assert best.clarity == quality(sharp, motion(yaw=25.0), 0.3).clarity


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_clear_frames_are_candidates_those_nearest_to_the_others_first(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 5, 2)).astype(np.float32)
    qualities = [Quality(*row) for row in rng.random((count, 3))]
    order = central(points, qualities)
    clearest = max(one.clarity for one in qualities)
    assert sorted(order) == [i for i in range(count) if qualities[i].clarity >= 0.6 * clearest]

    def mean_gap(i: int) -> float:
        return float(np.mean([np.linalg.norm(points[i] - other, axis=-1).mean() for other in points]))

    gaps = [mean_gap(i) for i in order]
    assert gaps == pytest.approx(sorted(gaps), abs=1e-5)


def test_frames_without_a_face_are_no_candidates_and_a_long_clip_has_no_more_than_are_compared() -> None:
    head, finder = TalkingHead.random("small"), HeadFinder()
    face = np.ascontiguousarray(portrait()[16:272, 16:272])
    flat = np.full_like(face, 120)
    moved = Motion.from_vector(np.zeros(head.profile.motion_size, np.float32) + 0.01)
    canonical = CanonicalKeypoints(np.zeros((head.profile.keypoints, 3), np.float32))
    search = SourceSearch(3 * CANDIDATE_EVERY, finder)
    for index in range(3 * CANDIDATE_EVERY):
        search.consider(index, face if index >= CANDIDATE_EVERY else flat, moved, canonical)
    assert search.candidates() == [CANDIDATE_EVERY, 2 * CANDIDATE_EVERY]
    covered = SourceSearch(3 * CANDIDATE_EVERY, finder)
    open_eyes = CanonicalKeypoints(np.random.default_rng(0).normal(size=(head.profile.keypoints, 3)).astype(np.float32))
    for index in range(0, 3 * CANDIDATE_EVERY, CANDIDATE_EVERY):
        covered.consider(index, face, moved, open_eyes, measured=index == CANDIDATE_EVERY)
    assert covered.candidates() == [CANDIDATE_EVERY], "a face behind a hand is the last choice"
    nothing = SourceSearch(1, finder)
    nothing.consider(0, flat, moved, canonical)
    assert nothing.candidates() == []
    long = SourceSearch(100 * CANDIDATE_EVERY * MOST_CANDIDATES, finder)
    for index in range(1, 100 * CANDIDATE_EVERY):
        long.consider(index, face, moved, canonical)
    assert long.candidates() == []  # the first candidate of so long a clip is 0, the second comes later


def test_encode_takes_the_frame_that_it_chose(tmp_path: Path) -> None:
    head = TalkingHead.random("small")
    write_clip(tmp_path / "in.mp4", [40 * i for i in range(12)])
    files, asked = EncodeFiles.check(tmp_path / "in.mp4", tmp_path / "out.vav"), []
    for frame in (None, 0, 5, 10):
        vav, _ = encode_clip(head, files, EncodeOptions(source_frame=frame))
        asked.append(decode_source(vav.images[0]))
    chosen, *candidates = asked
    assert any(np.array_equal(chosen, candidate) for candidate in candidates)
    assert not np.array_equal(candidates[0], candidates[1])
