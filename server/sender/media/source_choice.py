"""Which frame becomes a source image, which source the next frames use, and when one more is wanted.

Pure: told of frames one by one with their times; holds at most one candidate picture.

A renderer can only show what its source shows: a blurred, averted or blinking first frame spoils the whole call, and a
head that turns away from its source uncovers skin the source never saw (arXiv 2011.15126, section 6, limitations).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, distance
from model.registration.tracker import Reference
from model.source.quality import Quality

FIRST_WINDOW = 0.8
"""Seconds that the first choice may take, counted from the first frame with a face."""

GOOD_ENOUGH = 0.85
"""A score that ends the first choice early."""

POSE_COVER = 0.10
"""Mean shift of the keypoints by head rotation, crop units, that one source covers: about 28 degrees of yaw."""

EXPRESSION_COVER = 0.02
"""Mean shift of the keypoints by expression, crop units, that one source covers: about a mouth wide open."""

SETTLE = 0.4
"""Seconds that frames must lie outside their source before another one is used or wanted: longer than a syllable."""

SWITCH_GAIN = 0.8
"""Another source is used only when its gap is below this share of the present one's: no flipping back and forth."""

REFRESH_CLARITY = 0.6
"""Least sharpness times openness of the eyes of a further source."""

MAX_SOURCES = 4
"""Sources of one participant; the receiver keeps as many (`max_sources` in server/settings.py)."""


@dataclass(frozen=True)
class Candidate:
    """A frame that may become a source image."""

    crop: NDArray[np.uint8]  # (S, S, 3) RGB
    motion: Motion  # NumPy, no batch shape
    quality: Quality
    reference: Reference | None = None  # of this frame, for those that it will be the source of


class FirstChoice:
    """Keeps the best candidate of a short window."""

    def __init__(self) -> None:
        self._best: Candidate | None = None
        self._since: float | None = None

    def consider(self, candidate: Candidate, now: float) -> Candidate | None:
        """Told of every frame with a face; returns the source once, when it is chosen."""
        self._since = now if self._since is None else self._since
        if self._best is None or candidate.quality.score > self._best.quality.score:
            self._best = candidate
        if self._best.quality.score >= GOOD_ENOUGH or now >= self._since + FIRST_WINDOW:
            return self._best
        return None


@dataclass(frozen=True)
class PresentSource:
    """A source that the receiver has, as the sender remembers it."""

    index: int  # as motion messages name it
    canonical: CanonicalKeypoints  # NumPy, of the keypoints that follow the head, which come first
    motion: Motion  # NumPy, no batch shape
    reference: Reference | None = None  # what later frames are held against; None of a picture that no camera took

    def gap(self, motion: Motion) -> float:
        """How far `motion` leaves what this source covers; 1 is the edge. Place and size in the crop do not count."""
        heads = len(self.canonical.points)  # the body's keypoints tell where the head is in the picture
        own = replace(self.motion, expression=self.motion.expression[:heads])
        placed = replace(motion, translation=own.translation, scale=own.scale, expression=motion.expression[:heads])
        turned = replace(placed, expression=own.expression)
        spoken = replace(own, expression=placed.expression)
        return max(
            float(distance(self.canonical, turned, own)) / POSE_COVER,
            float(distance(self.canonical, spoken, own)) / EXPRESSION_COVER,
        )


class SourceCover:
    """Which of the present sources the frames use, and whether one more is wanted."""

    def __init__(self, first: PresentSource) -> None:
        self._sources = [first]
        self.current = first
        self._outside_since: float | None = None

    @property
    def next_index(self) -> int:
        """Index for the source that `update` asked for."""
        return len(self._sources)

    def add(self, source: PresentSource) -> None:
        """The receiver has taken a further source; frames like it use it from now on."""
        self._sources.append(source)
        self.current = source
        self._outside_since = None

    def update(self, motion: Motion, clarity: float, now: float) -> bool:
        """Told of every frame; moves `current`; True when this frame should become a further source."""
        present = self.current.gap(motion)
        if present <= 1.0:
            self._outside_since = None
            return False
        self._outside_since = now if self._outside_since is None else self._outside_since
        if now < self._outside_since + SETTLE:
            return False
        nearest = min(self._sources, key=lambda source: source.gap(motion))
        gap = nearest.gap(motion)
        if gap < SWITCH_GAIN * present:
            self.current = nearest
            self._outside_since = None if gap <= 1.0 else self._outside_since
        return gap > 1.0 and clarity >= REFRESH_CLARITY and len(self._sources) < MAX_SOURCES
