"""The keypoints of one source image's frames, in order: each frame's alignment begins at that of the frame before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion
from model.registration.keypoints import THOROUGH, Alignment, AlignmentReference, SurfaceMotion, align
from model.registration.similarity import GreyPyramid
from model.registration.surface import FollowedSurface


@dataclass(frozen=True)
class Effort:
    """What an alignment may take, and what it is for."""

    samples: int  # pixels of a frame that are compared
    hold: float
    """How strongly a keypoint stays where it was in the frame before, against staying where the extractor has it."""
    follows: bool  # whether dense motion runs for one frame of several


CALL = Effort(600, 8.0, follows=True)
"""As much as a laptop has time for; what stays is not sent anew (docs/experiments/call-alignment.md)."""
FILE = Effort(THOROUGH, 4.0, follows=False)
"""A little steadier, at three times the cost; the motion of a file is smoothed later."""


class Aligner(Protocol):
    """Aligns frames to one source image."""

    def __call__(self, picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        """What corrects the motion of a frame, as NumPy arrays without a batch shape, as the motion's are.

        before  the same of the frame before, where there was one
        """
        ...


class SmallAligner:
    """For the `small` profile; see `model.registration.keypoints`."""

    def __init__(
        self,
        surface_motion: SurfaceMotion,
        layout: KeypointLayout,
        canonical: CanonicalKeypoints,
        motion: Motion,
        picture: GreyPyramid,
        person: torch.Tensor,
        effort: Effort = CALL,
    ) -> None:
        """Canonical keypoints and motion of the source, batches of one on the network's device, and its picture.

        person   (1, 1, S, S) how much of each of the source's pixels is the person
        """
        self._device, self._effort = canonical.points.device, effort
        grey = self._tensor(picture.grey)
        if effort.follows:
            surface_motion = FollowedSurface(surface_motion, layout)
        self._reference = AlignmentReference.of(canonical, motion, surface_motion, layout, grey, person)

    def __call__(self, picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        driving = motion.map(self._tensor)
        frame, effort = self._tensor(picture.grey), self._effort
        if before is None:
            found = align(self._reference, driving, frame, samples=effort.samples)
        else:
            found = align(self._reference, driving, frame, before.map(self._tensor), effort.hold, effort.samples)
        return found.map(lambda x: x[0].cpu().numpy())

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        """As a batch of one."""
        return torch.from_numpy(np.array(values, np.float32)[None]).to(self._device)


class KeypointTracker:
    """Follows the frames that one source image drives, in order."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._alignment: Alignment | None = None

    def follow(self, picture: GreyPyramid, motion: Motion) -> Motion:
        """The corrected motion of a frame whose background and body are already corrected."""
        self._alignment = self._aligner(picture, motion, self._alignment)
        return self._alignment.applied(motion)

    def extrapolated(self, motion: Motion) -> Motion:
        """The motion of a frame that is not aligned, corrected by the last alignment."""
        return motion if self._alignment is None else self._alignment.applied(motion)
