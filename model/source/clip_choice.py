"""Which frames of a finished clip may become its source image: clear ones, from which the others are least far away.

Which of them it is, drawing from them tells (model/clip/source_trial.py). A live call has to choose within its first
second (server/sender/media/source_choice.py). A file is known to its end, and a hand before the face in its first frame
would be missing in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.face.box import SURE
from model.face.finder import HeadFinder
from model.motion import CanonicalKeypoints, Motion, compose
from model.source.expression import eye_openness
from model.source.quality import Quality, quality

CANDIDATE_EVERY = 5
"""Only each fifth frame is a candidate: the frames between are much like it, and finding a face costs 10 ms."""

MOST_CANDIDATES = 240
"""Of a long clip fewer: each is compared with each."""

TRIED = 6
"""How many of the candidates are drawn from (model/clip/source_trial.py)."""

_CLEAR = 0.6  # clarity as a share of the clearest candidate's that is clear enough


class SourceSearch:
    """Judges a clip's frames in order; keeps no pictures."""

    def __init__(self, count: int, finder: HeadFinder) -> None:
        """`count`: how many frames there will be."""
        self._finder = finder
        self.every = max(CANDIDATE_EVERY, -(-count // MOST_CANDIDATES))
        """Frames between two that can be chosen; those between need not be considered."""
        self._indices: list[int] = []
        self._points: list[NDArray[np.float32]] = []
        self._quality: list[Quality] = []

    def consider(
        self, index: int, crop: NDArray[np.uint8], motion: Motion, canonical: CanonicalKeypoints, measured: bool = True
    ) -> None:
        """A frame: its crop (S, S, 3), its motion (NumPy, no batch shape) and what that is relative to, (K, 3).

        measured  whether its face could be measured; one behind a hand is the last choice
        """
        if index % self.every or not any(face.score >= SURE for face in self._finder.find(crop)):
            return
        eyes = float(eye_openness(canonical, motion)) if measured else 0.0
        self._indices.append(index)
        self._points.append(compose(canonical, motion)[:, :2])
        self._quality.append(quality(crop, motion, eyes))

    def candidates(self) -> list[int]:
        """Indices of the frames that may be taken, at most TRIED, the likeliest first; none when none shows a face."""
        if not self._indices:
            return []
        return [self._indices[k] for k in central(np.stack(self._points), self._quality)[:TRIED]]


def central(points: NDArray[np.float32], qualities: Sequence[Quality]) -> list[int]:
    """Clear ones of N >= 1 candidates, first those whose keypoints (N, K, 2) are nearest to all others' on average."""
    gaps = np.array([np.linalg.norm(points - own, axis=-1).mean() for own in points])
    clarity = np.array([one.clarity for one in qualities])
    clear = clarity >= _CLEAR * clarity.max()
    return [int(k) for k in np.argsort(gaps, kind="stable") if clear[k]]
