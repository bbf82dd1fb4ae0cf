"""Windows of a clip as evaluation sees them: those that a file would have, and those that a call would send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.clip.mouth_patches import MouthPatches
from model.clip.windows import drawn_windows
from model.codec.source_image import FILE_SPEED, LIVE_SPEED
from model.codec.window import decode_window, encode_window
from model.evaluate.clips import Clip
from model.motion import Motion
from model.registration.similarity import thumbnail
from model.source.call_windows import CallWindows, SourceLook
from model.source.mouth_choice import mouth_points
from model.source.quality import sharpness
from model.source.window_search import WindowSearch
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.window import Window
from model.window.eyes import MAX_WINDOWS as MOST_EYES
from model.window.mouth import MAX_WINDOWS as MOST_MOUTHS

UPLOADED = 0.25
"""Seconds after which a call's receiver has a window: half a kilobyte leaves in one piece, and a line takes 50 ms."""


@dataclass(frozen=True)
class FileWindows:
    """What `encode` puts beside a clip's source image, and the motion that draws it."""

    frames: list[int]  # that each window shows
    coded: list[bytes]
    motions: Motion  # (T,) lips leaning and laid as `model.clip.windows` does
    bare: NDArray[np.bool_]  # (T,) which frames' mouths are seen: nothing lies before them


def file_windows(
    head: TalkingHead,
    clip: Clip,
    state: SourceState,
    motions: Motion,
    mouths: int = MOST_MOUTHS,
    eyes: int = MOST_EYES,
) -> FileWindows:
    """Those of a clip whose `motions` (T,) are relative to the keypoints of `state`, its source image enrolled."""
    if not head.has_landmarks:
        return FileWindows([], [], motions, np.ones(len(clip.frames), bool))
    search = WindowSearch(mouths, eyes)
    for index, (frame, measured) in enumerate(zip(clip.frames, clip.measured, strict=True)):
        search.consider(frame, clip.canonical, clip.motions[index], bool(measured))
    best, bare = search.best(clip.source, clip.source_frame), search.bare_mouths()
    thumbnails = np.stack([thumbnail(frame) for frame in clip.frames])
    patches = MouthPatches.of(clip.frames, mouth_points(clip.canonical, clip.motions))
    pictures = {place.frame: clip.frames[place.frame] for place in best}
    windows, driven = drawn_windows(best, pictures, motions, state.keypoints(), thumbnails, patches, clip.source, bare)
    return FileWindows(
        [place.frame for place in best], [encode_window(window, speed=FILE_SPEED) for window in windows], driven, bare
    )


def with_windows(head: TalkingHead, state: SourceState, windows: Sequence[bytes]) -> SourceState:
    """A source image with coded windows beside it."""
    return head.with_windows(state, [decode_window(data) for data in windows])


def call_states(
    head: TalkingHead, clip: Clip, state: SourceState, way: Sequence[int]
) -> tuple[list[SourceState], list[int]]:
    """The source image at each frame of `way`, with those windows beside it that a receiver has by then; bytes of each.

    The sender chooses along the way, as it does while it captures (`CallWindows`); the first frame is the source's.
    """
    if not head.has_landmarks:
        return [state] * len(way), []
    windows, picture = CallWindows(), clip.source_frame
    source = SourceLook.of(picture, clip.canonical, clip.motions[way[0]], sharpness(picture))
    beside: dict[int, Window] = {}
    due: list[tuple[float, int, Window]] = []
    states: list[SourceState] = []
    sizes: list[int] = []
    for number, index in enumerate(way):
        now = number / clip.fps
        while due and due[0][0] <= now:
            _, slot, window = due.pop(0)
            beside[slot] = window
            state = head.with_windows(state, [beside[slot] for slot in sorted(beside)])
        states.append(state)
        if not clip.measured[index] or not windows.looks(now):
            continue
        frame = clip.frames[index]
        chosen = windows.update(frame, clip.canonical, clip.motions[index], source, now)
        if chosen is not None:
            data = encode_window(chosen.cut(frame), speed=LIVE_SPEED)
            windows.sent(chosen, len(data), now)
            sizes.append(len(data))
            due.append((now + UPLOADED, chosen.slot, decode_window(data)))
    return states, sizes
