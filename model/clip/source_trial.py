"""Which of a few candidates is the source image from which a clip is drawn best: each is tried on some of its frames.

Keypoints do not tell what a frame uncovers: hair, a hand before the face, a background that is hidden in others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.registration.similarity import thumbnail
from model.registration.tracker import track
from model.source_state import SourceState
from model.talking_head import TalkingHead

DRAWN_EVERY = 12
"""Frames of a clip between two that are drawn from each candidate: with twice as many between the choice is worse."""

_FEWEST, _MOST = 8, 24  # that are drawn


@dataclass(frozen=True)
class Candidate:
    """A frame that may become the source image."""

    index: int  # in the clip
    image: NDArray[np.uint8]  # (S, S, 3), S one of the profile's sizes


def best_source(
    head: TalkingHead,
    candidates: Sequence[Candidate],
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    canonical: CanonicalKeypoints,
    step: Callable[[], object] = lambda: None,
) -> tuple[Candidate, SourceState]:
    """The candidate from which frames are drawn most like they are, enrolled.

    What counts is the mean absolute error of small grey pictures.

    thumbnails  (T, 128, 128) of the clip's frames, by `similarity.thumbnail`
    motions     (T,) as extracted, NumPy
    canonical   (K, 3) to which these are relative
    step        called `trial_steps` times, at each frame that is drawn
    A profile without landmarks is not tried, since its frames take seconds each: the first candidate is taken.
    """
    if not _tried(head, len(candidates)):
        return candidates[0], _enrolled(head, candidates[0])
    drawn = _drawn(len(thumbnails))
    best: tuple[float, Candidate, SourceState] | None = None
    for candidate in candidates:
        state = _enrolled(head, candidate)
        error = _error(head, candidate, state, drawn, thumbnails, motions, canonical, step)
        if best is None or error < best[0]:
            best = error, candidate, state
    assert best is not None
    return best[1:]


def trial_steps(head: TalkingHead, candidates: int, frames: int) -> int:
    """How many frames `best_source` draws to choose among so many candidates of a clip of so many frames."""
    return candidates * len(_drawn(frames)) if _tried(head, candidates) else 0


def _tried(head: TalkingHead, candidates: int) -> bool:
    return candidates > 1 and head.has_landmarks


def _drawn(frames: int) -> NDArray[np.int64]:
    """Indices of the frames that are drawn from each candidate."""
    count = int(np.clip(frames / DRAWN_EVERY, _FEWEST, _MOST))
    return np.unique(np.linspace(0, frames - 1, count).round().astype(int))


def _enrolled(head: TalkingHead, candidate: Candidate) -> SourceState:
    return head.enrol(torch.from_numpy(np.ascontiguousarray(candidate.image.transpose(2, 0, 1))))


def _error(
    head: TalkingHead,
    candidate: Candidate,
    state: SourceState,
    drawn: NDArray[np.int64],
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    canonical: CanonicalKeypoints,
    step: Callable[[], object],
) -> float:
    """Grey levels by which frames `drawn` from a candidate differ from what they are."""
    frames = np.union1d(drawn, candidate.index)
    relative = head.relative_to(state.keypoints(), motions[frames], canonical)
    # Backgrounds and bodies are registered, or a camera that moves would decide. Keypoints are not aligned: too slow.
    registered = track(
        thumbnails[frames], relative, int(np.searchsorted(frames, candidate.index)), head.profile.layout, None
    )
    motion = registered[np.searchsorted(frames, drawn)].to_torch()
    found = np.empty((len(drawn), *thumbnails.shape[1:]), np.uint8)
    for index in range(len(drawn)):
        picture = head.render([state], motion[index : index + 1])[0]
        found[index] = thumbnail(picture.permute(1, 2, 0).cpu().numpy())
        step()
    return float(np.abs(found.astype(np.float32) - thumbnails[drawn]).mean())
