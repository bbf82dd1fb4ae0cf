"""Where a film cuts to another picture: each scene with a face gets a crop and a source image of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.codec.vav import MAX_SOURCES
from model.errors import NoFaceError
from model.face.crop import Crop
from model.face.finder import HeadFinder, clip_crop
from model.media.video import TimedFrame

SAMPLE = (64, 36)
"""Width and height at which frames are compared: a nod moves little there, another picture everything."""

LEAST_CHANGE = 28.0
"""Grey levels of 255, mean over the picture, from one frame to the next, of another picture."""

_ABOVE_USUAL = 5.0  # times the mean change of the frames before
_MEMORY = 12.0  # frames that this mean goes back
_SHORTEST = 5  # frames; a flash is no scene

CROP_EVERY = 5
"""The head is searched in each fifth frame of a scene."""


def change(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Mean difference of two samples, grey levels."""
    return float(np.abs(after.astype(np.float32) - before.astype(np.float32)).mean())


class CutDetector:
    """Takes frames in order and numbers their scenes; keeps one small picture."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None
        self._usual = 0.0
        self._length = 0
        self.scene = 0

    def take(self, sample: NDArray[np.uint8]) -> int:
        """The scene, from 0, of the next frame, given in grey (36, 64)."""
        changed = 0.0 if self._before is None else change(self._before, sample)
        self._before = sample
        self._length += 1
        if changed > max(LEAST_CHANGE, _ABOVE_USUAL * self._usual) and self._length > _SHORTEST:
            self.scene += 1
            self._length, self._usual = 1, 0.0
        else:
            self._usual += (changed - self._usual) / min(_MEMORY, self._length)
        return self.scene


@dataclass(frozen=True)
class Scene:
    """Consecutive frames that share a source image."""

    begin: int  # first frame
    end: int  # the frame after the last
    crop: Crop
    faceless: frozenset[int] = frozenset()  # frames of parts in which nobody is seen


def find_scenes(frames: Iterable[TimedFrame], finder: HeadFinder) -> list[Scene]:
    """Scenes of a film that cover all of its frames; none where it has no frames.

    A part without a face belongs to the scene before it, or else behind it. Raises NoFaceError when there is no face in
    any, SeveralFacesError when one shows several people.
    """
    detector = CutDetector()
    scenes: list[Scene] = []
    nobody: set[int] = set()
    begin = end = 0
    missing: NoFaceError | None = None
    for _, group in groupby(frames, lambda timed: min(detector.take(_sample(timed)), MAX_SOURCES - 1)):
        start, counted = end, _Counted(group)
        try:
            crop = clip_crop(counted.pictures(), finder, every=1)
        except NoFaceError as error:
            missing = error
            end = start + counted.count
            nobody.update(range(start, end))
            continue
        end = start + counted.count
        _join(scenes, nobody, start)
        scenes.append(Scene(begin if not scenes else start, end, crop, frozenset(nobody)))
        nobody = set()
    if not scenes:
        if missing is not None and end:
            raise missing
        return []
    _join(scenes, nobody, end)
    return scenes


def _join(scenes: list[Scene], nobody: set[int], end: int) -> None:
    """Give the frames without a face that came before `end` to the last scene, if there is one."""
    if scenes and nobody:
        last = scenes[-1]
        scenes[-1] = Scene(last.begin, end, last.crop, last.faceless | nobody)
        nobody.clear()


class _Counted:
    """Pictures of each `CROP_EVERY`-th of a scene's frames, and how many frames there were."""

    def __init__(self, frames: Iterable[TimedFrame]) -> None:
        self._frames = frames
        self.count = 0

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        for timed in self._frames:
            if self.count % CROP_EVERY == 0:
                yield timed.rgb()
            self.count += 1


def picture_sample(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a `CutDetector` takes of a picture uint8 (H, W, 3) RGB."""
    step = max(1, min(picture.shape[1] // (2 * SAMPLE[0]), picture.shape[0] // (2 * SAMPLE[1])))
    fewer = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
    return np.asarray(fewer.resize(SAMPLE, Image.Resampling.BOX).convert("L"), np.uint8)


def _sample(timed: TimedFrame) -> NDArray[np.uint8]:
    return np.asarray(timed.frame.to_ndarray(format="gray", width=SAMPLE[0], height=SAMPLE[1]), np.uint8)
