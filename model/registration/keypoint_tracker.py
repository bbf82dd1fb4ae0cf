"""The keypoints of one source image's frames, in order: each frame's alignment begins at that of the frame before."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion
from model.registration.keypoints import SAMPLES, Alignment, AlignmentReference, SurfaceMotion, align
from model.registration.similarity import GreyPyramid

HOLD = 4.0
"""How strongly a keypoint stays where it was found in the frame before, against staying where the extractor has it."""


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
        samples: int = SAMPLES,
    ) -> None:
        """Canonical keypoints and motion of the source, batches of one on the network's device, and its picture.

        person   (1, 1, S, S) how much of each of the source's pixels is the person
        samples  pixels of each frame that are compared
        """
        self._device, self._samples = canonical.points.device, samples
        grey = self._tensor(picture.grey)
        self._reference = AlignmentReference.of(canonical, motion, surface_motion, layout, grey, person)

    def __call__(self, picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        driving = motion.map(self._tensor)
        frame = self._tensor(picture.grey)
        if before is None:
            found = align(self._reference, driving, frame, samples=self._samples)
        else:
            found = align(self._reference, driving, frame, before.map(self._tensor), HOLD, self._samples)
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
