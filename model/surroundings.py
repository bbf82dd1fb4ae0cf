"""What a motion extractor cannot see in one frame alone: where background and body have gone since the source image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.background import Backdrop, BackgroundTracker
from model.body import BodyTracker
from model.motion import Motion
from model.registration import Picture

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What later frames are held against: a frame that is or may become the source image."""

    picture: Picture
    motion: Motion  # no batch shape
    backdrop: Backdrop


class SurroundingsTracker:
    """Told of the frames of one head in order, and which of them is the source image that they drive."""

    def __init__(self, body: int) -> None:
        """`body`: how many keypoints, the last ones, are the body's."""
        self._count = body
        self._background = BackgroundTracker()
        self._body: tuple[Reference, BodyTracker] | None = None

    def follow(
        self, picture: Picture, motion: Motion, source: Reference | None = None, expected: Floats | None = None
    ) -> Motion:
        """The motion of a frame, as extracted, with that of its surroundings; no batch shape.

        source    what `reference` gave of the frame that is now the source image; without one the body stays as it is
        expected  (4,) how far the background has moved since the last frame, as far as is known: the crop moves it
        """
        place = self._background.follow(picture, motion, None if source is None else source.backdrop, expected)
        followed = replace(motion, background=place)
        if source is None or not self._count:
            return followed
        if self._body is None or self._body[0] is not source:
            self._body = source, BodyTracker(source.picture, source.motion, self._count)
        return self._body[1].follow(picture, followed)

    def carried(self, motion: Motion, source: Reference | None = None) -> Motion:
        """The motion of a frame that nobody waits to look at: its surroundings as they were found in the last one."""
        place = self._background.place(None if source is None else source.backdrop)
        carried = replace(motion, background=place)
        if self._body is None or self._body[0] is not source:
            return carried
        return self._body[1].carried(carried)

    def reference(self, picture: Picture, motion: Motion) -> Reference:
        """Of the last followed frame, or of one right after, and its motion as extracted. Raises ValueError before."""
        return Reference(picture, motion, self._background.backdrop())


def track(thumbnails: NDArray[np.uint8], motions: Motion, source: int, body: int) -> Motion:
    """Motions (T,) of a clip with those of background and body since its frame `source`: on from there and back.

    thumbnails  (T, 64, 64) of `registration.thumbnail`
    motions     (T,) as NumPy arrays, as extracted; the last `body` of their keypoints are the body's
    """
    vectors = motions.to_vector()
    count = len(thumbnails)
    for later in (range(source + 1, count), range(source - 1, -1, -1)):
        for index, vector in _followed(thumbnails, motions, source, body, later):
            vectors[index] = vector
    return Motion.from_vector(vectors)


def _followed(
    thumbnails: NDArray[np.uint8], motions: Motion, source: int, body: int, order: Iterable[int]
) -> Iterable[tuple[int, Floats]]:
    tracker, picture = SurroundingsTracker(body), Picture(thumbnails[source])
    tracker.follow(picture, motions[source])
    start = tracker.reference(picture, motions[source])
    for index in order:
        yield index, tracker.follow(Picture(thumbnails[index]), motions[index], start).to_vector()
