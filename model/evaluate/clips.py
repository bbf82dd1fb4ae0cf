"""Clips as evaluation sees them: the head's fixed square crop, the same that `encode` transmits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.clip.source_trial import Candidate, best_source
from model.errors import InputError
from model.face.box import SURE
from model.face.crop import Crop
from model.face.finder import HeadFinder, clip_crop
from model.frame_extractor import FrameExtractor
from model.media.video import constant_rate, read_frames
from model.motion import CanonicalKeypoints, Motion
from model.registration.similarity import thumbnail
from model.source.clip_choice import SourceSearch
from model.source.expression import eye_openness, mouth_opening
from model.talking_head import TalkingHead

CROP_EVERY = 5
"""The head is searched in each fifth frame, as `encode` does."""

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")


@dataclass(frozen=True)
class Clip:
    """One shot of one person."""

    name: str
    frames: NDArray[np.uint8]  # (T, S, S, 3) RGB, T >= 2
    fps: float
    motions: Motion  # (T,) as extracted, NumPy arrays
    canonical: CanonicalKeypoints  # (K, 3) to which they are relative
    measured: NDArray[np.bool_]  # (T,) whether the face could be measured
    source: int = 0  # the frame that becomes the source image
    crop: Crop | None = None  # of the film's frames; None where frames come from elsewhere
    skipped: int = 0  # frames of the film before the first of these

    @property
    def source_frame(self) -> NDArray[np.uint8]:
        """The source image (S, S, 3)."""
        source: NDArray[np.uint8] = self.frames[self.source]
        return source

    def driving(self, every: int = 1) -> NDArray[np.intp]:
        """Indices of each `every`-th frame after the first, without the source."""
        indices = np.arange(1, len(self.frames), every)
        scored: NDArray[np.intp] = indices[indices != self.source]
        return scored


def find_clips(folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """Video files of a folder in alphabetical order, all or those whose names without suffix are in `only`.

    Raises InputError when there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no clips ({', '.join(SUFFIXES)})")
    wanted = [path for path in paths if only is None or path.stem in only]
    if not wanted:
        raise InputError(f"{folder}: no clip is named {' or '.join(only or ())}")
    return wanted


def read_clip(head: TalkingHead, path: Path, max_frames: int | None = None) -> Clip:
    """The first `max_frames` frames of a video, cropped to the head and resized, and their motion.

    Frames before the first in which a face is found are left out: that frame is the source image until another one is
    chosen, and a clip may begin with a hand before the lens. Raises InputError for an unreadable file or under two
    frames, FaceError when no single head can be followed.
    """
    # Two passes, so that only crops are held in memory and not a thousand frames of a phone's camera.
    finder, extractor = HeadFinder(), FrameExtractor(head)
    crop = clip_crop((timed.rgb() for timed in islice(read_frames(path), 0, max_frames, CROP_EVERY)), finder, every=1)
    frames: list[NDArray[np.uint8]] = []
    motions: list[Motion] = []
    measured: list[bool] = []
    times: list[Fraction] = []
    skipped = 0
    for timed in islice(read_frames(path), max_frames):
        camera = timed.rgb()
        if frames or any(face.score >= SURE for face in finder.find(crop.cut(camera, head.profile.size))):
            picture, motion = extractor.extract(camera, crop)
            frames.append(picture)
            motions.append(motion)
            measured.append(extractor.measured)
            times.append(timed.time)
        else:
            skipped += 1
    if len(frames) < 2:
        raise InputError(f"{path}: needs at least two frames from the first with a face on, has {len(frames)}")
    mean = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else Fraction(25)
    rate = float(constant_rate(times) or mean)
    return Clip(
        path.stem,
        np.stack(frames),
        rate,
        Motion.stack(motions),
        extractor.canonical,
        np.array(measured),
        crop=crop,
        skipped=skipped,
    )


def with_source(head: TalkingHead, clip: Clip) -> Clip:
    """The clip with the source image that `encode` chooses."""
    search = SourceSearch(len(clip.frames), HeadFinder())
    for index in range(0, len(clip.frames), search.every):
        motion, measured = clip.motions[index], bool(clip.measured[index])
        search.consider(index, clip.frames[index], motion, clip.canonical, measured)
    candidates = [Candidate(index, clip.frames[index]) for index in search.candidates() or [0]]
    thumbnails = np.stack([thumbnail(frame) for frame in clip.frames])
    chosen, _ = best_source(head, candidates, thumbnails, clip.motions, clip.canonical)
    return replace(clip, source=chosen.index)


def cut_again(path: Path, clip: Clip, wanted: Sequence[int], size: int) -> list[NDArray[np.uint8]]:
    """Crops (size, size, 3) of some of the frames of a clip that `read_clip` read from `path`, in order."""
    assert clip.crop is not None
    found = set(wanted)
    frames = islice(read_frames(path), clip.skipped, None)
    return [clip.crop.cut(timed.rgb(), size) for i, timed in enumerate(islice(frames, max(found) + 1)) if i in found]


def with_closed_lips(head: TalkingHead, clip: Clip) -> Clip:
    """The clip with a source image that shows closed lips and open eyes, from which a call may have to start."""
    del head
    lips, eyes = mouth_opening(clip.canonical, clip.motions), eye_openness(clip.canonical, clip.motions)
    turned = np.abs(clip.motions.yaw - np.median(clip.motions.yaw))
    cost = np.maximum(lips - 0.02, 0) + np.maximum(np.median(eyes) - eyes, 0) + turned / 400
    return replace(clip, source=int(np.where(clip.measured, cost, np.inf).argmin()))


SOURCES: dict[str, Callable[[TalkingHead, Clip], Clip]] = {
    "chosen": with_source,
    "first": lambda head, clip: clip,
    "closed": with_closed_lips,
}
"""Ways to choose a clip's source image, by name."""
