"""Keypoints where the picture shows them: what registering each frame with the source image finds, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small.alignment import Key, align
from model.networks.small.dense_motion import SmallDenseMotion
from model.registration import Picture

Floats = NDArray[np.float32]

_HOLD = 4.0
"""How strongly a keypoint stays where it was found in the frame before, against staying where the extractor has it."""


class Aligner(Protocol):
    """Holds frames against one source image."""

    def __call__(self, picture: Picture, motion: Motion, before: Floats | None) -> Floats:
        """How far the keypoints lie from where the motion (no batch shape) has them, (K, 2) in units of its scale.

        before  (K, 2) the same of the frame before, where there was one
        """
        ...


class SmallAligner:
    """For the `small` profile; see `model.networks.small.alignment`."""

    def __init__(
        self, dense_motion: SmallDenseMotion, canonical: CanonicalKeypoints, motion: Motion, picture: Picture
    ) -> None:
        """Canonical keypoints (1, K, 3) on the network's device, motion (no batch shape) and picture of the source."""
        self._dense_motion, self._device = dense_motion, canonical.points.device
        self._key = Key.of(canonical, self._batch(motion), self._grey(picture))

    def __call__(self, picture: Picture, motion: Motion, before: Floats | None) -> Floats:
        driving, frame = self._batch(motion), self._grey(picture)
        if before is None:
            off = align(self._dense_motion, self._key, driving, frame)
        else:
            start = torch.from_numpy(before)[None].to(frame)
            off = align(self._dense_motion, self._key, driving, frame, start, _HOLD)
        return np.asarray(off[0].cpu().numpy(), np.float32)

    def _batch(self, motion: Motion) -> Motion:
        return Motion.from_vector(motion.to_vector()[None]).to_torch(self._device)

    def _grey(self, picture: Picture) -> torch.Tensor:
        return torch.from_numpy(picture.grey.astype(np.float32))[None].to(self._device)


class KeypointTracker:
    """Told of the frames that one source image drives, in order."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._off: Floats | None = None

    def follow(self, picture: Picture, motion: Motion) -> Motion:
        """The motion of a frame with its keypoints where they were found; background and body already are."""
        self._off = self._aligner(picture, motion, self._off)
        return self.carried(motion)

    def carried(self, motion: Motion) -> Motion:
        """The motion of a frame that is not looked at: the extractor put right by what it was last off by."""
        if self._off is None:
            return motion
        expression = motion.expression.copy()
        expression[..., :2] += self._off
        return replace(motion, expression=expression)
