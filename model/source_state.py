"""What a receiver caches of a source image, and those of several people side by side, as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small.eye_enhancer import EyePatches
from model.networks.small.eye_windows import EyeWindows
from model.networks.small.eyes import SourceEyes
from model.networks.small.mouth import MouthWindows
from model.networks.small.sharp import SharpSource
from model.window import Window
from model.window.eyes import EyeWindow
from model.window.mouth import MouthWindow


@dataclass(frozen=True)
class SourceState:
    """What a receiver caches of a source image; tensors of batch size 1 on the model's device."""

    canonical: CanonicalKeypoints
    motion: Motion
    features: dict[str, Tensor]
    eyes: SourceEyes | None = None  # None for a profile without landmarks
    sharp: SharpSource | None = None  # None for a source image that has no more pixels than the networks see
    eye_patches: EyePatches | None = None  # None where nothing corrects eyes
    mouths: MouthWindows | None = None  # None where no windows of the mouth stand beside it
    eye_windows: EyeWindows | None = None  # None where none of the eyes do

    def keypoints(self) -> CanonicalKeypoints:
        """Canonical keypoints (K, 3) in NumPy."""
        return first_of(self.canonical)

    def beside(self, windows: Sequence[Window], face: slice) -> SourceState:
        """The same with these windows beside it, in place of those that it had; `face`: keypoints of the face."""
        points = compose(self.canonical, self.motion)[0, face].float()
        mouths = [window for window in windows if isinstance(window, MouthWindow)]
        eyes = [window for window in windows if isinstance(window, EyeWindow)]
        return replace(
            self,
            mouths=MouthWindows.of(mouths, points) if mouths else None,
            eye_windows=EyeWindows.of(eyes, points) if eyes else None,
        )

    @property
    def nbytes(self) -> int:
        """Memory the cached features take."""
        features = sum(t.numel() * t.element_size() for t in self.features.values())
        parts = (self.sharp, self.eye_patches, self.mouths, self.eye_windows)
        return features + sum(part.nbytes for part in parts if part is not None)


def first_of(canonical: CanonicalKeypoints) -> CanonicalKeypoints:
    """The first of a batch, (K, 3) in NumPy."""
    return CanonicalKeypoints(canonical.points[0].float().cpu().numpy())


def side_by_side(states: Sequence[SourceState]) -> tuple[dict[str, Tensor], CanonicalKeypoints, Motion]:
    """Features, canonical keypoints and motion of source states, side by side.

    A single one, or the same one throughout, is expanded without a copy.
    """
    count, first = len(states), states[0]
    join: Callable[[list[Tensor]], Tensor] = torch.cat
    if all(state is first for state in states):
        states = [first]

        def join(parts: list[Tensor]) -> Tensor:
            return parts[0].expand(count, *parts[0].shape[1:])

    features = {name: join([s.features[name] for s in states]) for name in first.features}
    jacobians = [s.canonical.jacobians for s in states if s.canonical.jacobians is not None]
    canonical = CanonicalKeypoints(join([s.canonical.points for s in states]), join(jacobians) if jacobians else None)
    motion = Motion(*(join([getattr(s.motion, field.name) for s in states]) for field in fields(Motion)))
    return features, canonical, motion


def joined_eyes(states: Sequence[SourceState]) -> SourceEyes | None:
    """Eyes of several source images side by side; None for a profile without landmarks."""
    eyes = [state.eyes for state in states]
    return None if None in eyes else SourceEyes.joined([one for one in eyes if one is not None])


def joined_sharp(states: Sequence[SourceState]) -> SharpSource:
    """Source images at the full size, side by side; enlarged where there is no more of one."""
    first = states[0]
    if all(state is first for state in states):
        one = _full_size(first)
        return SharpSource(one.image.expand(len(states), -1, -1, -1), one.detail.expand(len(states), -1, -1, -1))
    several = [_full_size(state) for state in states]
    return SharpSource(torch.cat([s.image for s in several]), torch.cat([s.detail for s in several]))


def _full_size(state: SourceState) -> SharpSource:
    return state.sharp or SharpSource.enlarged(state.features["image"].float())
