"""Windows of eyes to train `EyeEnhancer` on: as the other networks draw them in a call, and as they were filmed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.codec.rate import Rate
from model.errors import FaceError, InputError
from model.evaluate.call import call_motion
from model.evaluate.channel import send
from model.evaluate.clips import Clip, read_clip
from model.evaluate.rendering import enrol, render
from model.evaluate.scoring import as_tensor
from model.media.atomic_file import complete_file
from model.motion import Motion, compose
from model.networks.small.eye_enhancer import EyePatches
from model.registration.tracker import away_from
from model.source_state import SourceState
from model.talking_head import TalkingHead

FRAMES = 84
"""Of a clip, from its first on."""
SOURCES = 2
"""Source images of a clip, drawn at random."""
EVERY = 3
"""Frames for one whose eyes are kept."""
FEWEST = 10
"""Measured frames that a clip must have."""


@dataclass(frozen=True)
class Eyes:
    """N eyes of one person; colours uint8, places in eye coordinates as the network sees them."""

    drawn: Tensor  # (N, 3, 32, 48)
    filmed: Tensor  # (N, 3, 32, 48)
    source: Tensor  # (N, 3, 32, 48)
    points: Tensor  # (N, 5, 2)
    source_points: Tensor  # (N, 5, 2)

    def __len__(self) -> int:
        return len(self.drawn)

    @staticmethod
    def joined(several: Iterable[Eyes]) -> Eyes:
        """Those of several, one behind the other."""
        parts = list(several)
        return Eyes(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Eyes)))

    def write(self, path: Path) -> None:
        """Keep them in a .npz file, in place only when complete."""
        arrays = {field.name: getattr(self, field.name).numpy() for field in fields(Eyes)}
        with complete_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    @staticmethod
    def read(path: Path) -> Eyes:
        """Inverse of `write`."""
        with np.load(path, allow_pickle=False) as file:
            return Eyes(*(torch.from_numpy(file[field.name]) for field in fields(Eyes)))


def eyes_of_film(head: TalkingHead, path: Path) -> Eyes | None:
    """Eyes of a film of one person; None where no head can be followed or hardly anything is measured.

    The same file gives the same eyes. Half of the motion is rounded as in a call.
    """
    try:
        clip = read_clip(head, path, FRAMES)
    except (InputError, FaceError):
        return None
    measured = np.flatnonzero(clip.measured)
    if len(measured) < FEWEST:
        return None
    random = np.random.default_rng(zlib.crc32(path.name.encode()))
    found = []
    for source in random.choice(measured, SOURCES, replace=False):
        shown = replace(clip, source=int(source))
        state = enrol(head, shown.source_frame)
        motion = call_motion(head, shown, state)
        if random.random() < 0.5:
            motion = _sent(head, shown, motion)
        which = [
            i for i in range(int(random.integers(EVERY)), len(clip.frames), EVERY) if clip.measured[i] and i != source
        ]
        found += _eyes(head, shown, state, motion, which)
    return Eyes.joined(found) if found else None


def _sent(head: TalkingHead, clip: Clip, motion: Motion) -> Motion:
    """Motion as it comes out of a call's channel."""
    vectors = motion.to_vector()
    out = vectors.copy()
    for later in away_from(clip.source, len(vectors)):
        way = [clip.source, *later]
        out[way] = send(head.statistics, vectors[way], Rate()).vectors
    return Motion.from_vector(out)


def _eyes(head: TalkingHead, clip: Clip, state: SourceState, motion: Motion, which: list[int]) -> list[Eyes]:
    """Those of some of a clip's frames, drawn without an enhancer."""
    layout = head.profile.layout
    source = _patches(clip.source_frame, compose(state.canonical, state.motion)[0, layout.face].float())
    drawn = render(head, replace(state, eye_patches=None), motion[np.array(which, np.intp)])
    faces = compose(state.canonical, motion.to_torch(state.canonical.points.device))[:, layout.face].float()
    found = []
    for index, picture in zip(which, drawn, strict=True):
        own, filmed = _patches(picture, faces[index]), _patches(clip.frames[index], faces[index])
        seen = [eye for eye in (0, 1) if own.large[eye] and source.large[eye]]
        a, b, c = ((255 * windows.pictures[seen] + 0.5).to(torch.uint8) for windows in (own, filmed, source))
        found.append(Eyes(a, b, c, own.points[seen], source.points[seen]))
    return found


def _patches(picture: np.ndarray, face: Tensor) -> EyePatches:
    return EyePatches.of(as_tensor(picture[None]), face.cpu())
