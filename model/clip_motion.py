"""The motion of a whole clip as a file tells it: each frame held against the source image, then smoothed.

A file knows what comes next, a call does not: what trembles from frame to frame is taken out without any delay.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from model.motion import CanonicalKeypoints, Motion, compose
from model.profiles.small import FEATURES
from model.registration import Picture
from model.talking_head import TalkingHead
from model.tracking import track

Floats = NDArray[np.float32]

_SIGMA = 0.04
"""Seconds. What nods twice a second keeps nine tenths of its way."""


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
    canonical = head.canonical(image)
    aligner = head.aligner(Picture(thumbnails[source]), canonical, motions[source])
    tracked = track(thumbnails, motions, source, head.profile.body, aligner)
    return tracked if aligner is None else smoothed(tracked, canonical, _SIGMA * frame_rate)


def smoothed(motions: Motion, canonical: CanonicalKeypoints, sigma: float) -> Motion:
    """Motions (T,) whose pose, background and keypoints tremble less; eyes and mouth, which are fast, stay as they are.

    canonical  (K, 3)
    sigma      frames
    """
    found, fast = compose(canonical, motions), list(FEATURES)
    places = _smooth(found, sigma)
    places[:, fast] = found[:, fast]
    pose = Motion(*(_smooth(getattr(motions, field.name), sigma) for field in fields(Motion)))
    rigid = compose(canonical, replace(pose, expression=np.zeros_like(pose.expression)))
    expression = (places - rigid) / pose.scale[:, None, None]
    return replace(pose, expression=expression.astype(np.float32))


def _smooth(values: Floats, sigma: float) -> Floats:
    """Values (T, ...) over time."""
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"), np.float32)
