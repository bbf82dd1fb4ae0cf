"""The assembled model: one interface, batches equal singles, typed errors for what does not fit."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model import description
from model.description import WEIGHTS
from model.errors import InputError, WeightsError
from model.landmarks.roi import Region
from model.motion import Motion, View
from model.talking_head import TalkingHead, load_trained
from model.temporal_filter import FrameTime, TemporalFilter
from model.weights.manifest import LANDMARKS, eye_enhancer_of


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.random("small", seed=0)


@pytest.fixture(scope="module")
def pictures(head: TalkingHead) -> torch.Tensor:
    size = head.profile.size
    coarse = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size=size, mode="bilinear") * 255).to(torch.uint8)


def test_batch_renders_like_singles(head: TalkingHead, pictures: torch.Tensor) -> None:
    states = [head.enrol(picture) for picture in pictures]
    motions = head.extract(pictures.flip(0))
    views = [View(), View(yaw=20), View(pitch=-10, translation=(0.1, 0.0, 0.0))]
    batch = head.render(states, motions, views)
    assert batch.shape == pictures.shape
    assert batch.dtype == torch.uint8
    for i in range(3):
        single = head.render([states[i]], motions[i : i + 1], [views[i]])
        assert (batch[i].int() - single[0].int()).abs().max() <= 1


def test_one_source_in_many_motions(head: TalkingHead, pictures: torch.Tensor) -> None:
    state = head.enrol(pictures[0])
    motions = head.extract(pictures)
    together = head.render([state] * 3, motions)
    apart = torch.cat([head.render([state], motions[i : i + 1]) for i in range(3)])
    assert (together.int() - apart.int()).abs().max() <= 1


def test_view_changes_the_picture(head: TalkingHead, pictures: torch.Tensor) -> None:
    state = head.enrol(pictures[0])
    front = head.render([state], state.motion)
    turned = head.render([state], state.motion, [View(yaw=25)])
    assert (front.int() - turned.int()).abs().float().mean() > 1


def test_what_follows_another_frame_keeps_some_of_it_when_the_head_has_turned(
    head: TalkingHead, pictures: torch.Tensor
) -> None:
    state = head.enrol(pictures[0])
    yaw = state.motion.yaw + torch.tensor([0.0, 2.0, 20.0])
    motions = replace(_repeated(state.motion, 3), yaw=yaw)
    shown = TemporalFilter()
    alone = head.render([state] * 3, motions)
    following = head.render([state] * 3, motions, None, [FrameTime(shown, 0.04 * i) for i in range(3)])
    assert torch.equal(following[:2], alone[:2])
    changed = (following[2].int() - alone[2].int()).abs().amax(0) > 0
    assert changed.float().mean() > 0.1
    assert torch.equal(head.render([state], motions[2:], None, [FrameTime(TemporalFilter(), 0.0)]), alone[2:])


def _repeated(motion: Motion, count: int) -> Motion:
    return Motion.from_vector(torch.from_numpy(motion.to_vector()).expand(count, -1))


def test_motion_survives_the_wire_form(head: TalkingHead, pictures: torch.Tensor) -> None:
    motion = head.extract(pictures)
    vector = motion.to_vector()
    assert vector.shape == (3, head.profile.motion_size)
    again = Motion.from_vector(vector)
    state = head.enrol(pictures[0])
    assert torch.equal(head.render([state] * 3, motion), head.render([state] * 3, again))


def test_state_knows_its_size(head: TalkingHead, pictures: torch.Tensor) -> None:
    assert 1e6 < head.enrol(pictures[0]).nbytes < 10e6


def test_wrong_pictures_and_motions_are_refused(head: TalkingHead, pictures: torch.Tensor) -> None:
    with pytest.raises(InputError, match="uint8"):
        head.enrol(pictures[0].float())
    with pytest.raises(InputError, match="uint8"):
        head.extract(pictures[:, :, :1, :1])
    state = head.enrol(pictures[0])
    with pytest.raises(InputError, match="one source state"):
        head.render([state], head.extract(pictures))
    with pytest.raises(InputError, match="one frame time"):
        head.render([state], state.motion, None, [])
    with pytest.raises(InputError, match="keypoints"):
        head.render([state], Motion.from_vector(torch.zeros(1, 139 + 3 * 5)))


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights"):
        TalkingHead.load(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x08" + bytes(40))
    with pytest.raises(WeightsError, match="safetensors"):
        TalkingHead.load(broken)
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other, metadata={"profile": "huge"})
    with pytest.raises(WeightsError, match="huge"):
        TalkingHead.load(other)
    short = tmp_path / "short.safetensors"
    save_file({"x": torch.zeros(1)}, short, metadata={"profile": "small"})
    with pytest.raises(WeightsError, match="does not fit"):
        TalkingHead.load(short)


def test_the_hash_of_the_weights_covers_the_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = TalkingHead.load()
    assert usual.has_landmarks
    assert usual.weights_hash == hashlib.sha256(WEIGHTS.read_bytes() + LANDMARKS.read_bytes()).hexdigest()
    tensors = load_file(LANDMARKS)
    other = tmp_path / "landmarks.safetensors"
    save_file(tensors, other, metadata={"other": "file"})
    monkeypatch.setattr(description, "LANDMARKS", other)
    assert TalkingHead.load().weights_hash != usual.weights_hash


def test_eyes_are_corrected_where_an_enhancer_lies_beside_the_weights(tmp_path: Path) -> None:
    own = tmp_path / "mine.safetensors"
    shutil.copy(WEIGHTS, own)
    assert load_trained(own).networks.enhance is None
    shutil.copy(eye_enhancer_of(WEIGHTS), eye_enhancer_of(own))
    assert load_trained(own).networks.enhance is not None
    eye_enhancer_of(own).write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="EyeEnhancer"):
        load_trained(own)


def test_a_profile_without_landmarks_says_so(head: TalkingHead) -> None:
    assert not head.has_landmarks
    with pytest.raises(InputError, match="no landmarks"):
        head.landmarks(np.zeros((8, 8, 3), np.uint8), Region(4, 4, 8))


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(InputError, match="unknown profile"):
        TalkingHead.random("huge")


@pytest.mark.slow
def test_the_paper_profile_has_the_same_interface() -> None:
    head = TalkingHead.random("paper")
    picture = torch.randint(0, 256, (3, 256, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    state = head.enrol(picture)
    motion = head.extract(picture[None])
    assert motion.to_vector().shape == (1, head.profile.motion_size)
    assert head.render([state], motion, [View(yaw=10)]).shape == (1, 3, 256, 256)
