"""Free view: turn a head to poses that nobody performed and read back where it looks (arXiv 2011.15126, section 4.3).

The landmark teacher reads the pose off the source frame and off every rendered one; asked for is R_u R of the first.
The teacher itself errs by a degree or two, and by more towards profile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.evaluate.clips import Clip
from model.evaluate.identity import similarity
from model.evaluate.rendering import enrol, render
from model.evaluate.scoring import Frames, Networks, head_angles
from model.motion import Motion, View, angles, rotation_matrix
from model.talking_head import TalkingHead

YAWS = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)
PITCHES = (-15.0, 0.0, 15.0)


@dataclass(frozen=True)
class Turned:
    """One source image seen from one view, and what was read off it; None where it could not be read."""

    clip: str
    view: View
    frame: Frames  # (S, S, 3)
    asked: tuple[float, float] | None = None  # yaw and pitch in degrees that the turned head should have
    read: tuple[float, float] | None = None  # that the teacher reads
    csim: float | None = None  # against the source image


def sweep(
    head: TalkingHead,
    clip: Clip,
    networks: Networks,
    yaws: tuple[float, ...] = YAWS,
    pitches: tuple[float, ...] = PITCHES,
) -> list[Turned]:
    """The clip's source image seen from every combination of yaw and pitch, pitches in the outer loop."""
    views = [View(yaw=yaw, pitch=pitch) for pitch in pitches for yaw in yaws]
    source = clip.source_frame
    state = enrol(head, source)
    frames = render(head, state, Motion.concatenate([state.motion.to_numpy()] * len(views)), views)
    asked, read = _poses(networks, source, frames, views)
    csims = _likeness(networks, source, frames)
    return [Turned(clip.name, *row) for row in zip(views, frames, asked, read, csims, strict=True)]


def summary(turned: Iterable[Turned]) -> dict[str, Any]:
    """Means over clips: {"yaw_error_20", "csim_20", "grid": [{yaw, pitch, yaw_error, pitch_error, csim, read}, ...]}.

    Errors are mean absolute differences in degrees, `read` the share of heads that the teacher could read;
    "..._20" are the means at +-20 degrees of yaw and no pitch.
    """
    by_view: dict[tuple[float, float], list[Turned]] = {}
    for one in turned:
        by_view.setdefault((one.view.yaw, one.view.pitch), []).append(one)
    grid: list[dict[str, Any]] = []
    for (yaw, pitch), group in by_view.items():
        pairs = [(one.asked, one.read) for one in group if one.asked is not None and one.read is not None]
        errors = np.abs([(a[0] - b[0], a[1] - b[1]) for a, b in pairs]) if pairs else None
        grid.append(
            {
                "yaw": yaw,
                "pitch": pitch,
                "yaw_error": float(errors[:, 0].mean()) if errors is not None else None,
                "pitch_error": float(errors[:, 1].mean()) if errors is not None else None,
                "csim": _mean([one.csim for one in group]),
                "read": len(pairs) / len(group),
            }
        )
    at_20 = [row for row in grid if abs(row["yaw"]) == 20 and row["pitch"] == 0]
    return {
        "yaw_error_20": _mean([row["yaw_error"] for row in at_20]),
        "csim_20": _mean([row["csim"] for row in at_20]),
        "grid": grid,
    }


Angles = list[tuple[float, float] | None]


def _poses(networks: Networks, source: Frames, frames: Frames, views: list[View]) -> tuple[Angles, Angles]:
    nothing: Angles = [None] * len(views)
    if networks.landmarks is None:
        return nothing, nothing
    points, present = networks.landmarks.landmarks(np.concatenate([source[None], frames]), tracking=False)
    if not present[0]:
        return nothing, nothing
    poses = head_angles(points).numpy()
    rotation = rotation_matrix(*poses[0])
    asked: Angles = []
    for view in views:
        yaw, pitch, _ = angles(rotation_matrix(*(np.float32(a) for a in (view.yaw, view.pitch, view.roll))) @ rotation)
        asked.append((float(yaw), float(pitch)))
    read: Angles = [
        (float(pose[0]), float(pose[1])) if found else None for pose, found in zip(poses[1:], present[1:], strict=True)
    ]
    return asked, read


def _likeness(networks: Networks, source: Frames, frames: Frames) -> list[float | None]:
    network = networks.identity
    box = network.find(source) if network is not None else None
    if network is None or box is None:
        return [None] * len(frames)
    embedding = network.embed(source, box)
    # A turned head lies elsewhere than in the source; where none is found, the place it should be near counts.
    return [float(similarity(network.embed(frame, network.find(frame) or box), embedding)) for frame in frames]


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
