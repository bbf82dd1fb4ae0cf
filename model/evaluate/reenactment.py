"""Cross-identity reenactment: one person's source image in another person's motion (arXiv 2011.15126, section 4.2).

There is no truth to compare with; what can be measured is whether the rendered head keeps the identity of the source
and takes the pose of the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.evaluate import metrics
from model.evaluate.clips import Clip
from model.evaluate.identity import similarity
from model.evaluate.rendering import enrol, render
from model.evaluate.scoring import Frames, Networks, Scores, head_angles
from model.motion import transfer
from model.talking_head import TalkingHead


@dataclass(frozen=True)
class Reenacted:
    """A source clip's person in a driving clip's motion."""

    source: str
    driving: str
    source_frame: Frames  # (S, S, 3)
    driving_frames: Frames  # (T, S, S, 3)
    frames: Frames  # (T, S, S, 3) rendered
    scores: Scores  # csim against the source image; pose error in degrees against the driving frames


def reenact(head: TalkingHead, source: Clip, driving: Clip, networks: Networks, count: int = 12) -> Reenacted:
    """The source image of `source`, driven by `count` frames spread over `driving`, relative to that clip's first."""
    picks = np.linspace(0, len(driving.frames) - 1, min(count, len(driving.frames))).round().astype(int)
    shown = driving.frames[picks]
    state = enrol(head, source.source_frame)
    motions = driving.motions[picks]
    rendered = render(head, state, transfer(motions, motions[0:1], state.motion.to_numpy()))
    scores: Scores = {"csim": None, "pose": None}
    if networks.landmarks is not None:
        a, in_a = networks.landmarks.landmarks(rendered, tracking=False)
        b, in_b = networks.landmarks.landmarks(shown, tracking=False)
        both = in_a & in_b
        if both.any():
            scores["pose"] = float(metrics.pose_error(head_angles(a[both]), head_angles(b[both])).mean())
    network = networks.identity
    if network is not None and (box := network.find(source.source_frame)) is not None:
        embeddings = np.stack([network.embed(frame, network.find(frame) or box) for frame in rendered])
        scores["csim"] = float(similarity(embeddings, network.embed(source.source_frame, box)).mean())
    return Reenacted(source.name, driving.name, source.source_frame, shown, rendered, scores)
