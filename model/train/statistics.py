"""The codec's statistics from films: motion as the sender of a call measures it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.codec.statistics import MotionStatistics
from model.errors import FaceError, InputError
from model.evaluate.call import call_motion
from model.evaluate.clips import Clip, read_clip, with_source
from model.evaluate.rendering import enrol
from model.motion import RESIDUAL_FLOW_SCALARS
from model.networks.small_config import EYES, MOUTH
from model.talking_head import TalkingHead
from model.train.prepare import Source

FRAMES = 75
"""Of a film so many are measured at most."""

PEOPLE = 60
"""So many people are measured: about five minutes of one core."""


@torch.inference_mode()
def fit_statistics(head: TalkingHead, sources: Sequence[Source], people: int = PEOPLE) -> MotionStatistics:
    """Statistics of the motion that calls of these people send, a film of each.

    Raises InputError when no film shows one face.
    """
    motions, rates = [], []
    for clip in tqdm(_clips(head, sources, people), total=people, desc="motions", unit="clip"):
        motions.append(call_motion(head, clip, enrol(head, clip.source_frame)).to_vector())
        rates.append(clip.fps)
    if not motions:
        raise InputError("no film shows one face that can be followed")
    return MotionStatistics.fit(motions, rates, importance(head.profile.keypoints))


def _clips(head: TalkingHead, sources: Sequence[Source], people: int) -> Iterator[Clip]:
    """A usable film of each of so many people, spread evenly over the list."""
    films: dict[str, list[Source]] = {}
    for source in sources:
        films.setdefault(source.person, []).append(source)
    persons = list(films.values())
    for index in np.linspace(0, len(persons) - 1, min(people, len(persons))).round().astype(int):
        for source in persons[index][:3]:
            try:
                yield with_source(head, read_clip(head, source.path, FRAMES))
                break
            except (FaceError, InputError):
                continue


def importance(keypoints: int) -> NDArray[np.float32]:
    """Weight (3K + 128,) of each value of the deformation: eyes and mouth count double, depth, hardly seen, less.

    Weights from what each value changes in the picture (LPIPS) gave the same picture for the same bits.
    """
    weight = np.ones((keypoints, 3), np.float32)
    weight[list(EYES + MOUTH)] = 2.0
    weight[:, 2] *= 0.15
    return np.concatenate([weight.reshape(-1), np.ones(RESIDUAL_FLOW_SCALARS, np.float32)])
