"""Of a few candidates the one is taken from which the clip is drawn best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip.source_trial import Candidate, best_source, trial_steps
from model.face.crop import whole
from model.frame_extractor import FrameExtractor
from model.motion import Motion
from model.registration.similarity import thumbnail
from model.source_state import SourceState
from model.talking_head import TalkingHead
from tests.model.clips import portrait


def test_a_candidate_with_something_before_the_face_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    head = TalkingHead.load()
    face = np.ascontiguousarray(portrait()[16:272, 16:272])
    covered = face.copy()
    covered[120:250, 60:200] = (90, 60, 40)
    frames = [covered, face, face, face]
    extractor = FrameExtractor(head)
    motions = [extractor.extract(face, whole(256))[1] for _ in frames]
    thumbnails = np.stack([thumbnail(frame) for frame in frames])
    candidates = [Candidate(index, frames[index]) for index in (0, 2)]
    enrolled, steps = [], 0
    enrol = head.enrol

    def counted(image: torch.Tensor) -> SourceState:
        enrolled.append(enrol(image))
        return enrolled[-1]

    def step() -> None:
        nonlocal steps
        steps += 1

    monkeypatch.setattr(head, "enrol", counted)
    chosen, state = best_source(head, candidates, thumbnails, Motion.stack(motions), extractor.canonical, step)
    assert chosen.index == 2
    assert [one is state for one in enrolled] == [False, True], "each is enrolled once"
    assert steps == trial_steps(head, 2, 4) == 2 * 4


def test_the_likeliest_is_taken_where_a_trial_would_take_minutes_or_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = TalkingHead.random("small")
    assert not head.has_landmarks

    def never(*_: object) -> None:
        raise AssertionError("nothing is to be tried")

    monkeypatch.setattr(head, "render", never)
    image = np.zeros((256, 256, 3), np.uint8)
    candidates = [Candidate(3, image), Candidate(1, image)]
    thumbnails = np.zeros((4, 128, 128), np.uint8)
    motions = Motion.from_vector(np.zeros((4, head.profile.motion_size), np.float32))
    canonical = head.canonical(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
    chosen, _ = best_source(head, candidates, thumbnails, motions, canonical)
    assert chosen.index == 3
    assert trial_steps(head, 2, 4) == 0
