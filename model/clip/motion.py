"""The motion of a whole clip as a file tells it: frames held against the source image, smoothed, and held once more.

A file knows what comes next, a call does not: what trembles from frame to frame is taken out without any delay. And
smoothed motion is a better guess than what the extractor says of one frame, so registration goes on from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small.config import FEATURES
from model.registration.keypoint_tracker import Aligner
from model.registration.similarity import Picture
from model.registration.tracker import track
from model.talking_head import TalkingHead

Floats = NDArray[np.float32]

_POSE = 0.06
"""Seconds, one sigma, of head pose, background and shifts. What nods twice a second keeps three quarters of its way."""


@dataclass(frozen=True)
class _Calm:
    """Places nearby in time are averaged where they are near each other, too: a blink stays a blink."""

    time: float  # seconds, one sigma
    reach: float  # crop units, one sigma


_FAST = _Calm(0.08, 0.01)  # eyes, brows, nose and mouth
_SLOW = _Calm(0.12, 0.03)


def clip_motion(
    head: TalkingHead,
    thumbnails: NDArray[np.uint8],
    motions: Motion,
    source: int,
    image: NDArray[np.uint8],
    frame_rate: float,
) -> Motion:
    """Motions (T,) of a clip, as extracted, put right.

    thumbnails  (T, 128, 128) of `registration.thumbnail`
    image       (S, S, 3) the frame `source`, which becomes the source image
    frame_rate  frames a second
    A profile whose keypoints cannot be held against frames gets back what was extracted.
    """
    state = head.enrol(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
    aligner = head.aligner(state, Picture(thumbnails[source]))
    tracked = track(thumbnails, motions, source, head.profile.body, aligner)
    if aligner is None:
        return tracked
    return _held_again(aligner, thumbnails, smoothed(tracked, state.keypoints(), frame_rate), source)


def _held_again(aligner: Aligner, thumbnails: NDArray[np.uint8], motions: Motion, source: int) -> Motion:
    """Motions (T,) put right once more, each from where it is."""
    vectors, count = motions.to_vector(), len(thumbnails)
    first = aligner(Picture(thumbnails[source]), motions[source], None)
    for later in (range(source + 1, count), range(source - 1, -1, -1)):
        before = first
        for index in later:
            motion = motions[index]
            start = replace(before, off=np.zeros_like(before.off), shifts=motion.shifts)
            before = aligner(Picture(thumbnails[index]), motion, start)
            vectors[index] = before.applied(motion).to_vector()
    return Motion.from_vector(vectors)


def smoothed(motions: Motion, canonical: CanonicalKeypoints, frame_rate: float) -> Motion:
    """Motions (T,) that tremble less: pose, background and shifts by a Gaussian over time, keypoints by a bilateral
    filter (Tomasi and Manduchi 1998).

    canonical   (K, 3)
    frame_rate  frames a second
    """
    found = compose(canonical, motions)
    places, fast = _calmed(found, _SLOW, frame_rate), list(FEATURES)
    places[:, fast] = _calmed(found[:, fast], _FAST, frame_rate)
    sigma = _POSE * frame_rate
    pose = Motion(*(_smooth(getattr(motions, field.name), sigma) for field in fields(Motion)))
    rigid = compose(canonical, replace(pose, expression=np.zeros_like(pose.expression)))
    expression = (places - rigid) / pose.scale[:, None, None]
    return replace(pose, expression=expression.astype(np.float32))


def _smooth(values: Floats, sigma: float) -> Floats:
    """Values (T, ...) over time."""
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"), np.float32)


def _calmed(places: Floats, calm: _Calm, frame_rate: float) -> Floats:
    """Places (T, K, 3) of keypoints, each for itself."""
    sigma, last = calm.time * frame_rate, len(places) - 1
    total, weights = np.zeros_like(places), np.zeros_like(places[..., :1])
    for later in range(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1):
        other = places[np.clip(np.arange(len(places)) + later, 0, last)]
        gap = ((other - places) ** 2).sum(-1, keepdims=True)
        weight = np.exp(-((later / sigma) ** 2) / 2 - gap / (2 * calm.reach**2))
        total += weight * other
        weights += weight
    return np.asarray(total / weights, np.float32)
