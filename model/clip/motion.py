"""The motion of a whole clip: frames are aligned to the source image, their motion smoothed, and aligned once more.

A file knows what comes next, a call does not: what trembles from frame to frame is taken out without any delay. And
smoothed motion is a better guess than the extractor's of one frame, so the second alignment pass begins there. Last
it is refined by what it makes of the source image (`refinement.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from model.arrays import Floats
from model.clip.refinement import refined, refinement_steps
from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small_config import FEATURES
from model.registration.keypoint_tracker import FILE, Aligner
from model.registration.keypoints import Alignment
from model.registration.similarity import GreyPyramid
from model.registration.tracker import away_from, track
from model.source_state import SourceState
from model.talking_head import TalkingHead

_POSE = 0.06
"""Seconds, one sigma, of head pose, background and residual flow: a nod twice a second keeps three quarters of its way.
"""


@dataclass(frozen=True)
class _Bilateral:
    """Places nearby in time are averaged where they are near each other, too: a blink stays a blink."""

    time: float  # seconds, one sigma
    reach: float  # crop units, one sigma


_FAST = _Bilateral(0.08, 0.01)  # eyes, brows, nose and mouth
_SLOW = _Bilateral(0.12, 0.03)


def clip_motion(
    head: TalkingHead,
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    source: int,
    state: SourceState,
    frame_rate: float,
    canonical: CanonicalKeypoints,
    pictures: NDArray[np.uint8],
    step: Callable[[], object] = lambda: None,
) -> Motion:
    """Motions (T,) of a clip, as extracted, corrected.

    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    source      the frame that becomes the source image
    state       that frame enrolled
    frame_rate  frames a second
    canonical   (K, 3) to which the motions are relative; they come back relative to the source image's
    pictures    of every fourth frame, as `refined` takes them
    step        called `registration_steps` times, at each alignment of a frame and each picture that is drawn
    A profile whose frames cannot be aligned keeps its keypoints as extracted.
    """
    motions = head.relative_to(state.keypoints(), motions, canonical)
    aligner = _counted(head.aligner(state, GreyPyramid(thumbnails[source]), FILE), step)
    tracked = track(thumbnails, motions, source, head.profile.layout, aligner)
    if aligner is None:
        return tracked
    aligned = _aligned_again(aligner, thumbnails, smoothed(tracked, state.keypoints(), frame_rate), source)
    return refined(head, pictures, aligned, source, state, step)


def registration_steps(head: TalkingHead, frames: int) -> int:
    """How often `clip_motion` calls `step`: each frame but the source image is aligned twice, that once, and every
    fourth is drawn.
    """
    return 2 * frames - 1 + refinement_steps(head, frames)


def _counted(aligner: Aligner | None, step: Callable[[], object]) -> Aligner | None:
    if aligner is None:
        return None
    align = aligner

    def counted(picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        step()
        return align(picture, motion, before)

    return counted


def _aligned_again(aligner: Aligner, thumbnails: NDArray[np.uint8], motions: Motion, source: int) -> Motion:
    """Motions (T,) corrected once more, each from where it is."""
    corrected = [motions[index] for index in range(len(thumbnails))]
    first = aligner(GreyPyramid(thumbnails[source]), motions[source], None)
    for later in away_from(source, len(thumbnails)):
        before = first
        for index in later:
            motion = motions[index]
            unmoved = np.zeros_like(before.keypoint_correction)
            start = replace(before, keypoint_correction=unmoved, residual_flow=motion.residual_flow)
            before = aligner(GreyPyramid(thumbnails[index]), motion, start)
            corrected[index] = before.applied(motion)
    return Motion.stack(corrected)


def smoothed(motions: Motion, canonical: CanonicalKeypoints, frame_rate: float) -> Motion:
    """Motions (T,) that tremble less: pose, background and residual flow by a Gaussian over time, keypoints by a
    bilateral filter (Tomasi and Manduchi 1998).

    canonical   (K, 3)
    frame_rate  frames a second
    """
    found = compose(canonical, motions)
    places, fast = _filtered(found, _SLOW, frame_rate), list(FEATURES)
    places[:, fast] = _filtered(found[:, fast], _FAST, frame_rate)
    sigma = _POSE * frame_rate
    pose = motions.map(lambda x: _smooth(x, sigma))
    rigid = compose(canonical, replace(pose, expression=np.zeros_like(pose.expression)))
    expression = (places - rigid) / pose.scale[:, None, None]
    return replace(pose, expression=expression.astype(np.float32))


def _smooth(values: Floats, sigma: float) -> Floats:
    """Values (T, ...) over time."""
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"), np.float32)


def _filtered(places: Floats, kernel: _Bilateral, frame_rate: float) -> Floats:
    """Places (T, K, 3) of keypoints, each smoothed for itself."""
    sigma, last = kernel.time * frame_rate, len(places) - 1
    total, weights = np.zeros_like(places), np.zeros_like(places[..., :1])
    for later in range(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1):
        other = places[np.clip(np.arange(len(places)) + later, 0, last)]
        gap = ((other - places) ** 2).sum(-1, keepdims=True)
        weight = np.exp(-((later / sigma) ** 2) / 2 - gap / (2 * kernel.reach**2))
        total += weight * other
        weights += weight
    return np.asarray(total / weights, np.float32)
