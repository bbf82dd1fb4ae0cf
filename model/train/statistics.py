"""The codec's statistics from films: motion as a call's sender measures it, weighted by what it does to the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.codec.statistics import POSE_SCALARS, MotionStatistics
from model.errors import FaceError, InputError
from model.evaluate.call import call_motion
from model.evaluate.clips import Clip, read_clip, with_source
from model.evaluate.rendering import enrol, render
from model.evaluate.scoring import as_tensor
from model.motion import Motion
from model.networks.small.config import EYES, MOUTH
from model.perceptual.networks import Lpips
from model.talking_head import TalkingHead
from model.train.prepare import Source

FRAMES = 75
"""Of a clip so many are measured at most."""

PROBED = 8
"""Clips of which one frame is rendered anew for each value of its deformation."""

_PROBE = 0.015  # crop units by which a value is changed: two pixels
_BATCH = 8
_BLUNT = 0.25  # of the mean weight, that any value has at least
_EXPRESSION = 1.5  # a picture metric counts pixels: what eyes and mouth do is seen by more than their share of them


def fit_statistics(head: TalkingHead, sources: Sequence[Source], lpips: Lpips) -> MotionStatistics:
    """Statistics of the motion that calls of these people send, one clip of each person.

    Raises InputError when no clip shows one face.
    """
    clips = list(tqdm(_clips(head, sources), desc="motions", unit="clip"))
    if not clips:
        raise InputError("no clip shows one face that can be followed")
    motions = [call_motion(head, clip, enrol(head, clip.source_frame)) for clip in clips]
    weight = importance(head, clips, motions, lpips)
    return MotionStatistics.fit([motion.to_vector() for motion in motions], [clip.fps for clip in clips], weight)


def _clips(head: TalkingHead, sources: Sequence[Source]) -> Iterable[Clip]:
    """The first usable clip of each person."""
    people: set[str] = set()
    for source in sources:
        if source.person in people:
            continue
        try:
            yield with_source(read_clip(head, source.path, FRAMES))
        except (FaceError, InputError):
            continue
        people.add(source.person)


@torch.inference_mode()
def importance(
    head: TalkingHead, clips: Sequence[Clip], motions: Sequence[Motion], lpips: Lpips
) -> NDArray[np.float32]:
    """Weight (3K + 128,) of each value of the deformation: the root of what changing it changes in the picture (LPIPS).

    A quantiser that rounds weighted values with one step makes about the same change with each of them.
    """
    size = motions[0].to_vector().shape[-1]
    change = np.zeros(size - POSE_SCALARS)
    random = np.random.default_rng(0)
    for index in np.linspace(0, len(clips) - 1, min(PROBED, len(clips))).round().astype(int):
        clip, vectors = clips[index], motions[index].to_vector()
        state, vector = enrol(head, clip.source_frame), vectors[random.integers(len(vectors))]
        before = as_tensor(render(head, state, Motion.from_vector(vector[None])))
        for start in tqdm(range(POSE_SCALARS, size, _BATCH), desc=clip.name, leave=False):
            values = np.arange(start, min(start + _BATCH, size))
            changed = np.repeat(vector[None], len(values), 0)
            changed[np.arange(len(values)), values] += _PROBE * random.choice([-1, 1], len(values))
            after = as_tensor(render(head, state, Motion.from_vector(changed)))
            change[values - POSE_SCALARS] += lpips(after, before.expand_as(after)).flatten().numpy()
    weight = np.sqrt(np.maximum(change, 0.0))
    expressive = weight[: 3 * head.profile.keypoints].reshape(-1, 3)
    expressive[list(EYES + MOUTH), :2] *= _EXPRESSION
    return np.asarray(np.maximum(weight / weight.mean(), _BLUNT), np.float32)
