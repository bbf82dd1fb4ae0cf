"""What a motion extractor cannot see in one frame: where all in it has gone since the source image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.motion import Motion
from model.registration.background import Backdrop, BackgroundTracker
from model.registration.body import BodyTracker
from model.registration.keypoint_tracker import Aligner, KeypointTracker
from model.registration.similarity import Picture

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What later frames are held against: a frame that is or may become the source image."""

    picture: Picture
    motion: Motion  # no batch shape
    backdrop: Backdrop
    aligner: Aligner | None = None  # of a source image whose canonical keypoints are known


class MotionTracker:
    """Told of the frames of one head in order, and which of them is the source image that they drive."""

    def __init__(self, body: int) -> None:
        """`body`: how many keypoints, the last ones, are the body's."""
        self._count = body
        self._background = BackgroundTracker()
        self._source: Reference | None = None
        self._body: BodyTracker | None = None
        self._keypoints: KeypointTracker | None = None

    def follow(
        self, picture: Picture, motion: Motion, source: Reference | None = None, expected: Floats | None = None
    ) -> Motion:
        """The motion of a frame, as extracted, put right; no batch shape.

        source    what `reference` gave of the frame that is now the source image; without one only the background moves
        expected  (4,) how far the background has moved since the last frame, as far as is known: the crop moves it
        """
        place = self._background.follow(picture, motion, None if source is None else source.backdrop, expected)
        followed = replace(motion, background=place)
        self._hold_against(source)
        if self._body is not None:
            followed = self._body.follow(picture, followed)
        return followed if self._keypoints is None else self._keypoints.follow(picture, followed)

    def carried(self, motion: Motion, source: Reference | None = None) -> Motion:
        """The motion of a frame that nobody waits to look at: put right by what was found in the last one."""
        place = self._background.place(None if source is None else source.backdrop)
        carried = replace(motion, background=place)
        if source is None or self._source is not source:
            return carried
        if self._body is not None:
            carried = self._body.carried(carried)
        return carried if self._keypoints is None else self._keypoints.carried(carried)

    def _hold_against(self, source: Reference | None) -> None:
        """Begin anew with another source image."""
        if source is self._source:
            return
        self._source, self._body, self._keypoints = source, None, None
        if source is None:
            return
        if self._count:
            self._body = BodyTracker(source.picture, source.motion, self._count)
        if source.aligner is not None:
            self._keypoints = KeypointTracker(source.aligner)

    def reference(self, picture: Picture, motion: Motion) -> Reference:
        """Of the last followed frame, or of one right after, and its motion as extracted. Raises ValueError before."""
        return Reference(picture, motion, self._background.backdrop())


def track(
    thumbnails: NDArray[np.uint8], motions: Motion, source: int, body: int, aligner: Aligner | None = None
) -> Motion:
    """Motions (T,) of a clip as a sender tells them since its frame `source`: on from there and back.

    thumbnails  (T, 128, 128) of `registration.thumbnail`
    motions     (T,) as NumPy arrays, as extracted; the last `body` of their keypoints are the body's
    aligner     of the frame `source`; without one keypoints stay where the extractor has them
    """
    vectors = motions.to_vector()
    count = len(thumbnails)
    for later in (range(source + 1, count), range(source - 1, -1, -1)):
        tracker, picture = MotionTracker(body), Picture(thumbnails[source])
        tracker.follow(picture, motions[source])
        start = replace(tracker.reference(picture, motions[source]), aligner=aligner)
        for index in later:
            vectors[index] = tracker.follow(Picture(thumbnails[index]), motions[index], start).to_vector()
    return Motion.from_vector(vectors)
