"""Motion as the picture shows it: what registering each frame with the source image finds, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.registration.keypoints import Found, Key, Moves, align
from model.registration.similarity import Picture

Floats = NDArray[np.float32]

HOLD = 4.0
"""How strongly a keypoint stays where it was found in the frame before, against staying where the extractor has it."""


@dataclass(frozen=True)
class Correction:
    """What is put right in a motion of no batch shape."""

    off: Floats  # (K, 2) how far keypoints lie from where the motion has them, in units of its scale
    shifts: Floats  # (64, 2) of `Motion.shifts`
    missed: Floats  # (128, 128) grey values by which the source, moved so, still falls short of the frame

    def applied(self, motion: Motion) -> Motion:
        """The motion put right."""
        expression = motion.expression.copy()
        expression[..., :2] += self.off
        return replace(motion, expression=expression, shifts=self.shifts)


class Aligner(Protocol):
    """Holds frames against one source image."""

    def __call__(self, picture: Picture, motion: Motion, before: Correction | None) -> Correction:
        """What the motion (no batch shape) of a frame lacks.

        before  the same of the frame before, where there was one
        """
        ...


class SmallAligner:
    """For the `small` profile; see `model.registration.keypoints`."""

    def __init__(
        self,
        moves: Moves,
        body: int,
        canonical: CanonicalKeypoints,
        motion: Motion,
        picture: Picture,
        person: torch.Tensor,
    ) -> None:
        """Canonical keypoints and motion of the source, batches of one on the network's device, and its picture.

        body    how many keypoints, the last ones, are the body's
        person  (1, 1, S, S) how much of each of the source's pixels is the person
        """
        self._device = canonical.points.device
        self._key = Key.of(canonical, motion, moves, body, self._tensor(picture.grey), person)

    def __call__(self, picture: Picture, motion: Motion, before: Correction | None) -> Correction:
        driving = Motion.from_vector(self._tensor(motion.to_vector()))
        frame = self._tensor(picture.grey)
        if before is None:
            found = align(self._key, driving, frame)
        else:
            last = Found(*(self._tensor(getattr(before, field.name)) for field in fields(Found)))
            found = align(self._key, driving, frame, last, HOLD)
        return Correction(*(getattr(found, field.name)[0].cpu().numpy() for field in fields(Found)))

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        """As a batch of one."""
        return torch.from_numpy(values.astype(np.float32))[None].to(self._device)


class KeypointTracker:
    """Told of the frames that one source image drives, in order."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._correction: Correction | None = None

    def follow(self, picture: Picture, motion: Motion) -> Motion:
        """The motion of a frame put right; background and body already are."""
        self._correction = self._aligner(picture, motion, self._correction)
        return self._correction.applied(motion)

    def carried(self, motion: Motion) -> Motion:
        """The motion of a frame that is not looked at: put right by what was last found."""
        return motion if self._correction is None else self._correction.applied(motion)
