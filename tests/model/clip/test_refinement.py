"""Motion is moved to where its picture is nearer to the frame, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.clip.refinement import FURTHEST, OUTLINE, REFINE_EVERY, refined, refinement_steps
from model.motion import Motion
from model.networks.small_config import EYES, MOUTH
from model.source_state import SourceState
from model.talking_head import TalkingHead

COUNT, SOURCE = 2 * REFINE_EVERY + 2, 3
STILL = list(EYES + MOUTH)


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.load()


@pytest.fixture(scope="module")
def state(head: TalkingHead) -> SourceState:
    from skimage.data import astronaut

    return head.enrol(torch.from_numpy(astronaut()[4:260, 96:352].copy()).permute(2, 0, 1))


def _pictures(head: TalkingHead, state: SourceState, motions: Motion) -> NDArray[np.uint8]:
    every = motions[::REFINE_EVERY].to_torch()
    return head.render([state] * len(every), every).permute(0, 2, 3, 1).numpy()


def _resting(state: SourceState) -> Motion:
    return Motion.stack([state.motion.to_numpy()[0]] * COUNT)


def test_the_picture_comes_nearer_and_eyes_and_mouth_stay(head: TalkingHead, state: SourceState) -> None:
    motions = _resting(state)
    shifted = replace(motions, residual_flow=motions.residual_flow.copy())
    shifted.residual_flow[:SOURCE] += 0.02
    shifted.residual_flow[SOURCE + 1 :] -= 0.02
    wanted = _pictures(head, state, shifted)
    steps: list[None] = []
    with torch.inference_mode():  # as evaluation calls it
        found = refined(head, wanted, motions, SOURCE, state, lambda: steps.append(None))
    error = [np.abs(_pictures(head, state, one) - wanted.astype(int)).mean((1, 2, 3)) for one in (motions, found)]
    assert (error[1] < 0.6 * error[0]).all()
    assert len(steps) == refinement_steps(head, COUNT) == len(wanted)
    np.testing.assert_array_equal(found.expression[:, STILL], motions.expression[:, STILL])
    np.testing.assert_array_equal(found[SOURCE].to_vector(), motions[SOURCE].to_vector())
    for name in ("yaw", "pitch", "roll", "translation", "scale", "background"):
        np.testing.assert_array_equal(getattr(found, name), getattr(motions, name))


def test_between_two_pictures_lies_what_lies_between(head: TalkingHead, state: SourceState) -> None:
    motions = _resting(state)
    shifted = replace(motions, residual_flow=motions.residual_flow + np.float32(0.02))
    found = refined(head, _pictures(head, state, shifted), motions, 0, state)
    way = found.residual_flow - motions.residual_flow
    assert way[REFINE_EVERY].mean() > 0.005
    np.testing.assert_allclose(way[2], (way[0] + way[REFINE_EVERY]) / 2, atol=1e-5)
    np.testing.assert_allclose(way[-1], way[2 * REFINE_EVERY], atol=1e-6, err_msg="beyond the last there is no other")


def test_nothing_is_drawn_far_out(head: TalkingHead, state: SourceState) -> None:
    """To a hand, say, of the colour of cheeks."""
    motions = Motion.stack([state.motion.to_numpy()[0]] * 8 * REFINE_EVERY)
    far = replace(motions, residual_flow=motions.residual_flow + np.float32(0.12))
    found = refined(head, _pictures(head, state, far), motions, 0, state)
    outline = list(range(max(STILL) + 1, head.profile.layout.face_count))
    moved = np.abs(found.expression - motions.expression)[..., :2]
    flow = np.abs(found.residual_flow - motions.residual_flow)
    assert flow.max() == pytest.approx(FURTHEST, abs=1e-6)
    assert 0 < moved[:, outline].max() <= OUTLINE + 1e-6
    assert moved.max() <= FURTHEST + 1e-6


def test_what_fits_already_stays(head: TalkingHead, state: SourceState) -> None:
    motions = _resting(state)
    found = refined(head, _pictures(head, state, motions), motions, SOURCE, state)
    pictures = [_pictures(head, state, one).astype(int) for one in (motions, found)]
    assert np.abs(pictures[1] - pictures[0]).mean() < 1.0, "grey levels"


def test_a_profile_whose_frames_cannot_be_aligned_keeps_its_motion() -> None:
    paper = TalkingHead.random("paper")
    state = paper.enrol(torch.full((3, 256, 256), 128, dtype=torch.uint8))
    motions = Motion.stack([state.motion.to_numpy()[0]] * 3)
    found = refined(paper, np.full((1, 256, 256, 3), 128, np.uint8), motions, 1, state)
    np.testing.assert_array_equal(found.to_vector(), motions.to_vector())
    assert refinement_steps(paper, 3) == 0
