"""Which of a few candidates is the source image from which a clip is drawn best: each is tried on some of its frames.

Keypoints do not tell what a frame uncovers: hair, a hand before the face, a background that is hidden in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.registration.similarity import thumbnail
from model.registration.tracker import track
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
) -> Candidate:
    """The candidate from which frames are drawn most like they are: mean absolute error of small grey pictures.

    thumbnails  (T, 128, 128) of the clip's frames, by `similarity.thumbnail`
    motions     (T,) as extracted, NumPy
    canonical   (K, 3) to which these are relative
    A profile without landmarks is not tried, since its frames take seconds each: the first candidate is taken.
    """
    if len(candidates) == 1 or not head.has_landmarks:
        return candidates[0]
    count = int(np.clip(len(thumbnails) / DRAWN_EVERY, _FEWEST, _MOST))
    drawn = np.unique(np.linspace(0, len(thumbnails) - 1, count).round().astype(int))
    errors = [_error(head, one, drawn, thumbnails, motions, canonical) for one in candidates]
    return candidates[int(np.argmin(errors))]


def _error(
    head: TalkingHead,
    candidate: Candidate,
    drawn: NDArray[np.int64],
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    canonical: CanonicalKeypoints,
) -> float:
    """Grey levels by which frames `drawn` from a candidate differ from what they are."""
    state = head.enrol(torch.from_numpy(np.ascontiguousarray(candidate.image.transpose(2, 0, 1))))
    frames = np.union1d(drawn, candidate.index)
    relative = head.relative_to(state.keypoints(), motions[frames], canonical)
    # Backgrounds and bodies are registered, or a camera that moves would decide. Keypoints are not aligned: too slow.
    registered = track(
        thumbnails[frames], relative, int(np.searchsorted(frames, candidate.index)), head.profile.layout, None
    )
    motion = registered[np.searchsorted(frames, drawn)].to_torch()
    pictures = head.render([state] * len(motion), motion).permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack([thumbnail(picture) for picture in pictures])
    return float(np.abs(found.astype(np.float32) - thumbnails[drawn]).mean())
