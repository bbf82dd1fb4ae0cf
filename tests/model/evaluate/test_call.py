"""Call mode on a tiny synthetic clip: time runs away from the source image, motion goes through the codec."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.evaluate.call import call, call_motion
from model.evaluate.clips import Clip
from model.evaluate.rendering import enrol
from model.source_state import SourceState
from model.talking_head import TalkingHead
from tests.model.clips import portrait

SOURCE = 2


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.random("small")


@pytest.fixture(scope="module")
def clip(head: TalkingHead) -> Clip:
    frames = np.stack([portrait()[16 + i : 272 + i, 16 + 2 * i : 272 + 2 * i] for i in range(5)])
    pictures = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
    motions = head.extract(pictures).to_numpy()
    return Clip("drift", frames, 25.0, motions, head.canonical(pictures[:1]), np.ones(5, np.bool_), SOURCE)


@pytest.fixture(scope="module")
def state(head: TalkingHead, clip: Clip) -> SourceState:
    return enrol(head, clip.source_frame)


def test_the_source_frame_is_sent_as_it_is_and_others_follow_the_picture(
    head: TalkingHead, clip: Clip, state: SourceState
) -> None:
    motion = call_motion(head, clip, state)
    assert motion.to_vector().shape == (5, head.profile.motion_size)
    np.testing.assert_array_equal(motion[SOURCE].to_vector(), clip.motions[SOURCE].to_vector())
    np.testing.assert_array_equal(motion.yaw, clip.motions.yaw)  # pose is the extractor's own


def test_a_call_shows_every_frame_and_counts_its_bytes(head: TalkingHead, clip: Clip, state: SourceState) -> None:
    motion = call_motion(head, clip, state)
    whole, lossy = call(head, clip, state, motion), call(head, clip, state, motion, loss=1.0)
    assert whole.frames.shape == clip.frames.shape
    assert whole.frames.dtype == np.uint8
    assert 1 < whole.kbps < 200
    assert lossy.kbps > 0
    # Of what is lost, the source's own motion is held.
    held = lossy.frames[SOURCE]
    assert all(np.abs(frame.astype(int) - held).max() <= 1 for frame in lossy.frames)
    assert np.abs(whole.frames[SOURCE].astype(int) - held).max() <= 1
