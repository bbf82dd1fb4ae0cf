"""What a motion extractor cannot see in one frame: where all in it has gone since the source image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats
from model.keypoint_layout import KeypointLayout
from model.motion import Motion
from model.registration.background import Backdrop, BackgroundTracker
from model.registration.body import BodyTracker
from model.registration.keypoint_tracker import Aligner, KeypointTracker
from model.registration.similarity import GreyPyramid


@dataclass(frozen=True)
class SourceReference:
    """What later frames are registered with: a frame that is or may become the source image."""

    picture: GreyPyramid
    motion: Motion  # no batch shape
    backdrop: Backdrop
    aligner: Aligner | None = None  # of a source image whose canonical keypoints are known


class MotionTracker:
    """Follows background, body and keypoints through the frames of one head, in order.

    Any of the frames may become the source image that the others drive.
    """

    def __init__(self, layout: KeypointLayout) -> None:
        self._layout = layout
        self._background = BackgroundTracker()
        self._source: SourceReference | None = None
        self._body: BodyTracker | None = None
        self._keypoints: KeypointTracker | None = None

    def follow(
        self,
        picture: GreyPyramid,
        motion: Motion,
        source: SourceReference | None = None,
        expected: Floats | None = None,
    ) -> Motion:
        """The motion of a frame, as extracted, corrected; no batch shape.

        source    what `reference` gave of the frame that is now the source image; without one only the background moves
        expected  (4,) how far the background has moved since the last frame, as far as is known: the crop moves it
        """
        place = self._background.follow(picture, motion, None if source is None else source.backdrop, expected)
        followed = replace(motion, background=place)
        self._align_to(source)
        if self._body is not None:
            followed = self._body.follow(picture, followed)
        return followed if self._keypoints is None else self._keypoints.follow(picture, followed)

    def extrapolated(self, motion: Motion, source: SourceReference | None = None) -> Motion:
        """The motion of a frame that cannot wait to be registered, corrected by what was found in the last one."""
        place = self._background.place(None if source is None else source.backdrop)
        extrapolated = replace(motion, background=place)
        if source is None or self._source is not source:
            return extrapolated
        if self._body is not None:
            extrapolated = self._body.extrapolated(extrapolated)
        return extrapolated if self._keypoints is None else self._keypoints.extrapolated(extrapolated)

    def _align_to(self, source: SourceReference | None) -> None:
        """Begin anew with another source image."""
        if source is self._source:
            return
        self._source, self._body, self._keypoints = source, None, None
        if source is None:
            return
        if self._layout.body_count:
            self._body = BodyTracker(source.picture, source.motion, self._layout)
        if source.aligner is not None:
            self._keypoints = KeypointTracker(source.aligner)

    def reference(self, picture: GreyPyramid, motion: Motion) -> SourceReference:
        """Of the last followed frame, or of one right after, and its motion as extracted. Raises ValueError before."""
        return SourceReference(picture, motion, self._background.backdrop())


def away_from(source: int, count: int) -> Iterator[range]:
    """The frames of a clip on from its frame `source`, and those back from it."""
    yield range(source + 1, count)
    yield range(source - 1, -1, -1)


def track(
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    source: int,
    layout: KeypointLayout,
    aligner: Aligner | None = None,
) -> Motion:
    """Motions (T,) of a clip as a sender measures them since its frame `source`: on from there and back.

    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    motions     (T,) as NumPy arrays, as extracted
    aligner     of the frame `source`; without one keypoints stay where the extractor has them
    """
    followed = [motions[index] for index in range(len(thumbnails))]
    for later in away_from(source, len(thumbnails)):
        tracker, picture = MotionTracker(layout), GreyPyramid(thumbnails[source])
        tracker.follow(picture, motions[source])
        start = replace(tracker.reference(picture, motions[source]), aligner=aligner)
        for index in later:
            followed[index] = tracker.follow(GreyPyramid(thumbnails[index]), motions[index], start)
    return Motion.stack(followed)
