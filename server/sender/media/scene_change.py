"""When a live picture has become another: a film's cut, another camera, another person in front of it.

Pure: takes a small sample of each frame, and is told of faces. A hand before the lens is no other picture: what counts
is whether the next face is seen in the picture of before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.clip.scenes import LEAST_CHANGE, CutDetector, change

Sample = NDArray[np.uint8]
"""Grey (36, 64), `model.clip.scenes.picture_sample`."""


class SceneChange:
    """Takes every frame in order."""

    def __init__(self) -> None:
        self._detector = CutDetector()
        self._last: Sample | None = None
        self._left: Sample | None = None  # how the picture was before the cut after which no face was seen yet

    def take(self, sample: Sample) -> bool:
        """Whether the picture has changed hard with this frame: what was known of the face is no longer true."""
        scene = self._detector.scene
        cut = self._detector.take(sample) != scene
        if cut and self._left is None:
            self._left = self._last
        self._last = sample
        return cut

    def face_seen(self) -> bool:
        """There is a face in the frame taken last: whether it is the first one of another picture."""
        left, self._left = self._left, None
        return left is not None and self._last is not None and change(left, self._last) > LEAST_CHANGE
