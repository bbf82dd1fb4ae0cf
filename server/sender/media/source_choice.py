"""Which frame makes a good source image, which source a pose is nearest to, and when one more is wanted.

Pure: takes frames one by one with their times, in seconds; holds at most one candidate picture.

A renderer can only show what its source shows: a blurred, averted or blinking first frame spoils the whole call, and a
head that turns away from its source uncovers skin the source never saw (arXiv 2011.15126, section 6, limitations).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, distance
from model.registration.tracker import SourceReference
from model.source.call_windows import SourceLook
from model.source.quality import Quality
from server.sender.media.samples import MAX_SOURCES

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


@dataclass(frozen=True)
class Candidate:
    """A frame that may become a source image."""

    picture: NDArray[np.uint8]  # (S, S, 3) RGB, as large as the camera has it and the model takes it
    motion: Motion  # NumPy, no batch shape, as extracted
    quality: Quality
    reference: SourceReference | None = (
        None  # of this frame, for those that it will be the source of; None for an avatar's
    )


class FirstChoice:
    """Keeps the best candidate of a short window."""

    def __init__(self) -> None:
        self._best: Candidate | None = None
        self._since: float | None = None

    def consider(self, candidate: Candidate, now: float) -> Candidate | None:
        """Takes every frame with a face; returns the best one once, when the window is over."""
        self._since = now if self._since is None else self._since
        if self._best is None or candidate.quality.score > self._best.quality.score:
            self._best = candidate
        if self._best.quality.score >= GOOD_ENOUGH or now >= self._since + FIRST_WINDOW:
            return self._best
        return None


@dataclass(frozen=True)
class EnrolledSource:
    """What the sender knows of a source image: what the model found in it."""

    canonical: CanonicalKeypoints  # NumPy (K, 3)
    motion: Motion  # NumPy, no batch shape
    heads: int  # how many keypoints follow the head; they come first
    reference: SourceReference | None = None  # to which later frames are aligned; None of a picture that no camera took
    look: SourceLook | None = None  # what its mouth and eyes show; None of a picture beside which no window stands

    def gap(self, motion: Motion) -> float:
        """How far `motion` leaves what this source covers; 1 is the edge. Place and size in the crop do not count."""
        heads = self.heads  # the body's keypoints tell where the head is in the picture
        canonical = CanonicalKeypoints(self.canonical.points[:heads])
        own = replace(self.motion, expression=self.motion.expression[:heads])
        placed = replace(motion, translation=own.translation, scale=own.scale, expression=motion.expression[:heads])
        turned = replace(placed, expression=own.expression)
        spoken = replace(own, expression=placed.expression)
        return max(
            float(distance(canonical, turned, own)) / POSE_COVER,
            float(distance(canonical, spoken, own)) / EXPRESSION_COVER,
        )


class SourceCover:
    """Which of the sources that the receiver has the frames use, and whether one more is wanted."""

    def __init__(self, first: EnrolledSource) -> None:
        self._sources = [first]
        self.index = 0
        """Of the current source, in the order in which they were added."""
        self._outside_since: float | None = None

    @property
    def current(self) -> EnrolledSource:
        """The source that frames use."""
        return self._sources[self.index]

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, source: EnrolledSource) -> None:
        """The receiver has taken a further source; frames like it use it from now on."""
        self.index = len(self._sources)
        self._sources.append(source)
        self._outside_since = None

    def update(self, motion: Motion, clarity: float, now: float) -> bool:
        """Takes every frame; moves `current`; True when this frame should become a further source."""
        present = self.current.gap(motion)
        if present <= 1.0:
            self._outside_since = None
            return False
        self._outside_since = now if self._outside_since is None else self._outside_since
        if now < self._outside_since + SETTLE:
            return False
        gaps = [source.gap(motion) for source in self._sources]
        gap = min(gaps)
        if gap < SWITCH_GAIN * present:
            self.index = gaps.index(gap)
            self._outside_since = None if gap <= 1.0 else self._outside_since
        return gap > 1.0 and clarity >= REFRESH_CLARITY and len(self._sources) < MAX_SOURCES
