"""Mouth windows of a clip as evaluation sees them: those that a file would have, and those that a call would send."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.codec.mouth_window import decode_window, encode_window
from model.codec.source_image import FILE_SPEED, LIVE_SPEED
from model.evaluate.clips import Clip
from model.mouth_window import MAX_WINDOWS, MouthWindow, cut_window, mouth_coordinates, usable
from model.source.mouth_choice import CallMouth, WindowSearch, mouth_points, skin_unevenness
from model.source.quality import sharpness
from model.source.window_choice import SHARP_ENOUGH, WindowChoice
from model.source_state import SourceState
from model.talking_head import TalkingHead

UPLOADED = 0.25
"""Seconds after which a call's receiver has a window: half a kilobyte leaves in one piece, and a line takes 50 ms."""


def file_windows(head: TalkingHead, clip: Clip, count: int = MAX_WINDOWS) -> dict[int, bytes]:
    """Windows that `encode` would put beside the clip's source image, by the frame that they show."""
    if not head.has_landmarks:
        return {}
    points = mouth_points(clip.canonical, clip.motions)
    search = WindowSearch()
    for frame, place, measured in zip(clip.frames, points, clip.measured, strict=True):
        search.consider(frame, place, bool(measured))
    found = search.best(clip.source, count)
    return {i: encode_window(cut_window(clip.frames[i], place), speed=FILE_SPEED) for i, place in found}


def with_windows(head: TalkingHead, state: SourceState, windows: Sequence[bytes]) -> SourceState:
    """A source image with coded windows beside it."""
    return head.with_windows(state, [decode_window(data) for data in windows])


def call_states(
    head: TalkingHead, clip: Clip, state: SourceState, way: Sequence[int]
) -> tuple[list[SourceState], list[int]]:
    """The source image at each frame of `way`, with those windows beside it that a receiver has by then; bytes of each.

    The sender chooses along the way, as it does while it captures (`WindowChoice`); the first frame is the source's.
    """
    if not head.has_landmarks:
        return [state] * len(way), []
    choice, points = WindowChoice(), mouth_points(clip.canonical, clip.motions)
    shapes = mouth_coordinates(points)
    sharp = SHARP_ENOUGH * sharpness(clip.source_frame)
    seen = usable(points[way[0]])
    mouth = CallMouth(skin_unevenness(clip.source_frame, points[way[0]]) if seen else np.inf)
    beside: dict[int, MouthWindow] = {}
    due: list[tuple[float, int, MouthWindow]] = []
    states: list[SourceState] = []
    sizes: list[int] = []
    for number, index in enumerate(way):
        now = number / clip.fps
        while due and due[0][0] <= now:
            _, slot, window = due.pop(0)
            beside[slot] = window
            state = head.with_windows(state, [beside[slot] for slot in sorted(beside)])
        states.append(state)
        if not choice.looks(now):
            continue
        clear = (
            bool(usable(points[index]) and clip.measured[index])
            and sharpness(clip.frames[index]) >= sharp
            and not mouth.update(skin_unevenness(clip.frames[index], points[index]))
        )
        chosen = choice.update(shapes[index], shapes[way[0]], clear, now)
        if chosen is not None:
            data = encode_window(cut_window(clip.frames[index], points[index]), speed=LIVE_SPEED)
            choice.sent(chosen, shapes[index], len(data), now)
            sizes.append(len(data))
            due.append((now + UPLOADED, chosen, decode_window(data)))
    return states, sizes
