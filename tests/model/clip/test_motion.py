"""The motion of a whole clip: trembling taken out, nods and blinks left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip import motion as clip_motions
from model.clip.motion import clip_motion, smoothed
from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion, compose
from model.networks.small_config import FEATURES, SMALL
from model.registration.keypoints import Alignment
from model.registration.similarity import GreyPyramid
from model.talking_head import TalkingHead

K = SMALL.keypoints
T = 40
RNG = np.random.default_rng(0)
CANONICAL = CanonicalKeypoints(RNG.uniform(-0.6, 0.6, (K, 3)).astype(np.float32))


def nodding(tremble: float) -> Motion:
    """A head that nods once a second at 25 frames a second, of which each value trembles."""
    rng = np.random.default_rng(1)
    zero = np.zeros(T, np.float32)
    pitch = (8 * np.sin(2 * np.pi * np.arange(T) / 25)).astype(np.float32)
    motion = Motion(zero, pitch, zero, np.zeros((T, 3), np.float32), zero + 0.7, np.zeros((T, K, 3), np.float32))
    noise = rng.normal(0, tremble, motion.to_vector().shape).astype(np.float32)
    return Motion.from_vector(motion.to_vector() + noise)


GREY = np.full((1, 256, 256, 3), 128, np.uint8)
"""Pictures of which a refinement sees nothing."""


def trembling(motion: Motion) -> float:
    """Mean size of the second difference of the places that are not eyes or mouth."""
    return float(np.abs(np.diff(compose(CANONICAL, motion)[:, len(FEATURES) :], 2, axis=0)).mean())


def test_trembling_goes_and_the_nod_stays() -> None:
    quiet, shaken = nodding(0.0), nodding(0.004)
    steadied = smoothed(shaken, CANONICAL, 25.0)
    assert trembling(steadied) < 0.3 * trembling(shaken)
    gap = compose(CANONICAL, steadied) - compose(CANONICAL, quiet)
    assert np.abs(gap[3:-3, len(FEATURES) :]).mean() < 0.003
    assert np.ptp(steadied.pitch) > 0.93 * np.ptp(quiet.pitch)


def test_a_blink_is_as_deep_and_as_short_as_it_was() -> None:
    still = Motion.from_vector(np.repeat(nodding(0.0).to_vector()[:1], T, 0))
    lid = FEATURES[2]
    still.expression[18:21, lid, 1] += 0.06
    after = compose(CANONICAL, smoothed(still, CANONICAL, 25.0))[:, lid, 1]
    before = compose(CANONICAL, still)[:, lid, 1]
    np.testing.assert_allclose(after, before, atol=0.1 * 0.06 * 0.7)


def test_eyes_and_mouth_tremble_less() -> None:
    fast = list(FEATURES)
    quiet, shaken = (compose(CANONICAL, nodding(size))[:, fast] for size in (0.0, 0.004))
    steadied = compose(CANONICAL, smoothed(nodding(0.004), CANONICAL, 25.0))[:, fast]
    assert np.abs(steadied - quiet)[3:-3].mean() < 0.8 * np.abs(shaken - quiet)[3:-3].mean()


@pytest.mark.parametrize("count", [1, 2, T])
def test_what_does_not_tremble_is_left_alone(count: int) -> None:
    still = Motion.from_vector(np.repeat(nodding(0.01).to_vector()[:1], count, 0))
    np.testing.assert_allclose(smoothed(still, CANONICAL, 25.0).to_vector(), still.to_vector(), atol=1e-4)


def test_a_profile_whose_frames_cannot_be_aligned_keeps_its_keypoints() -> None:
    head = TalkingHead.random("paper")
    zero = np.zeros(3, np.float32)
    expression = RNG.normal(0, 0.1, (3, head.profile.keypoints, 3)).astype(np.float32)
    motions = Motion(zero, zero, zero, np.zeros((3, 3), np.float32), zero + 1, expression)
    state = head.enrol(torch.full((3, 256, 256), 128, dtype=torch.uint8))
    put_right = clip_motion(head, np.full((3, 128, 128), 128, np.uint8), motions, 1, state, 25.0, CANONICAL, GREY)
    np.testing.assert_array_equal(put_right.to_vector(), motions.to_vector())


class Scripted:
    """Finds every keypoint off by the same, however it is asked, and remembers how."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Alignment | None]] = []

    def __call__(self, picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        self.asked.append((float(motion.expression[0, 0]), before))
        residual = np.full((128, 128), len(self.asked), np.float32)
        return Alignment(
            np.full((K, 2), 0.01, np.float32), np.full((RESIDUAL_FLOW_PLACES, 2), 0.02, np.float32), residual
        )


def test_frames_are_aligned_to_the_source_image_again_from_smoothed_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    head, aligner = TalkingHead.random(), Scripted()
    monkeypatch.setattr(head, "aligner", lambda *_: aligner)
    monkeypatch.setattr(clip_motions, "refined", lambda head, pictures, motions, *_: motions)
    still = Motion.from_vector(np.repeat(nodding(0.0).to_vector()[:1], 5, 0))
    state = head.enrol(torch.full((3, 256, 256), 128, dtype=torch.uint8))
    put_right = clip_motion(head, np.full((5, 128, 128), 128, np.uint8), still, 2, state, 25.0, CANONICAL, GREY)
    # Frames 3, 4, 1 and 0 at first; then the source image and two frames, both ways.
    assert len(aligner.asked) == 4 + 5
    assert [index for index, (_, before) in enumerate(aligner.asked) if before is None] == [0, 2, 4]
    said, before = aligner.asked[6]
    assert said == pytest.approx(0.01, abs=2e-3)  # where the first round, smoothed, left it
    assert before is not None
    assert not before.keypoint_correction.any()
    assert before.residual_flow.mean() == pytest.approx(0.02, abs=5e-3)
    assert before.residual.max() == 6  # what the frame before lacked
    np.testing.assert_allclose(put_right.expression[4, :, 0], 0.02, atol=2e-3)
    np.testing.assert_allclose(put_right.residual_flow[[0, 1, 3, 4]], 0.02)
