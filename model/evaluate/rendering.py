"""A talking head run over whole clips: frames as uint8 (T, S, S, 3) in and out, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model.clip.motion import clip_motion
from model.clip.refinement import REFINE_EVERY
from model.evaluate.clips import Clip
from model.evaluate.scoring import Frames, as_frames
from model.motion import Motion, View
from model.registration.similarity import thumbnail
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.temporal_filter import FrameTime, TemporalFilter

# Frames are copied into tensors: decoders and broadcasting hand out arrays that cannot be written to.

BATCH = 16


def enrol(head: TalkingHead, frame: Frames) -> SourceState:
    """Source state of a frame (S, S, 3)."""
    return head.enrol(torch.from_numpy(np.array(frame)).permute(2, 0, 1))


def align_clip(head: TalkingHead, clip: Clip, image: Frames | None = None) -> Motion:
    """Motion of all frames of a clip since its source frame, as `encode` measures it; (T,), NumPy arrays.

    image   (S, S, 3) the source frame as it is sent, at one of the profile's sizes; None: as it is in the clip
    """
    thumbnails = np.stack([thumbnail(frame) for frame in clip.frames])
    image = clip.source_frame if image is None else image
    state, pictures = enrol(head, image), clip.frames[::REFINE_EVERY]
    return clip_motion(head, thumbnails, clip.motions, clip.source, state, clip.fps, clip.canonical, pictures)


def render(
    head: TalkingHead,
    state: SourceState | Sequence[SourceState],
    motions: Motion,
    views: Sequence[View] | None = None,
    frame_rate: float | None = None,
    size: int | None = None,
) -> Frames:
    """The source of `state` in motions (T,), NumPy arrays, each seen from its view: (T, S, S, 3).

    state: one for all, or one for each frame
    frame_rate: of motions that follow each other, frames a second; without it each frame stands for itself
    size: S, one of the profile's sizes; None: the networks' own
    """
    rendered = []
    states = [state] * len(motions) if isinstance(state, SourceState) else state
    shown = TemporalFilter()
    for start in range(0, len(motions), BATCH):
        batch = slice(start, start + BATCH)
        motion = motions[batch].to_torch()
        seen_from = None if views is None else views[batch]
        times = None
        if frame_rate is not None:
            times = [FrameTime(shown, (start + i) / frame_rate) for i in range(len(motion))]
        rendered.append(as_frames(head.render(states[batch], motion, seen_from, times, size)))
    return np.concatenate(rendered)
