"""The model as the sender uses it, one face at a time in NumPy; and the avatar, another face to be driven."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.face.box import Box
from model.face.crop import Crop
from model.frame_extractor import FrameExtractor
from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion, transfer
from model.registration.tracker import SourceReference
from model.talking_head import TalkingHead
from server.sender.media.source_choice import EnrolledSource


class Extractor(Protocol):
    """What is used of the model; `ModelExtractor` is the real one."""

    size: int  # S, side of a crop in pixels
    layout: KeypointLayout
    has_landmarks: bool  # whether the face's keypoints are measured

    def source_size(self, available: float) -> int:
        """Side of the source image to make of a crop that has `available` pixels a side."""

    @property
    def canonical(self) -> CanonicalKeypoints:
        """(K, 3) to which extracted motion is relative."""

    @property
    def measured(self) -> bool:
        """Whether the face of the last frame was measured: it is not behind a hand."""

    @property
    def face(self) -> Box | None:
        """Where the face of the last frame was measured, pixels of the frame."""

    def restart(self) -> None: ...
    def extract(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]: ...
    def relative_to(self, source: EnrolledSource, motion: Motion) -> Motion: ...
    def enrol(self, picture: NDArray[np.uint8], reference: SourceReference | None = None) -> EnrolledSource: ...


class ModelExtractor:
    """A TalkingHead for one face at a time, pictures and motion in NumPy."""

    def __init__(self, model: TalkingHead) -> None:
        self._model = model
        self.size = model.profile.size
        self.layout = model.profile.layout
        self.has_landmarks = model.has_landmarks
        self._frames = FrameExtractor(model)

    def source_size(self, available: float) -> int:
        """Side of the source image to make of a crop that has `available` pixels a side."""
        return self._model.profile.source_size(available)

    def restart(self) -> None:
        """Begin with another person."""
        self._frames = FrameExtractor(self._model)

    @property
    def canonical(self) -> CanonicalKeypoints:
        """(K, 3) to which motion is relative: the first frame's. Raises ValueError before it."""
        return self._frames.canonical

    @property
    def measured(self) -> bool:
        """Whether the face of the last frame was measured, not held."""
        return self._frames.measured

    @property
    def face(self) -> Box | None:
        """Where the face of the last frame was measured; None where it was not."""
        return self._frames.face

    def extract(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]:
        """The crop (S, S, 3) of a camera's frame uint8 (H, W, 3), and its motion, no batch shape."""
        return self._frames.extract(frame, crop)

    def relative_to(self, source: EnrolledSource, motion: Motion) -> Motion:
        """Extracted motion relative to the canonical keypoints of a source image: the face stays where it was seen."""
        return self._model.relative_to(source.canonical, motion, self.canonical)

    def enrol(self, picture: NDArray[np.uint8], reference: SourceReference | None = None) -> EnrolledSource:
        """What the model finds in a source image uint8 (S, S, 3), S as `source_size` gives it.

        reference  the picture as it is registered; what comes back has it with an aligner to this source image
        """
        state = self._model.enrol(_tensor(picture))
        if reference is not None:
            reference = replace(reference, aligner=self._model.aligner(state, reference.picture))
        return EnrolledSource(state.keypoints(), state.motion.to_numpy()[0], self.layout.head_count, reference)


class Avatar:
    """Another face's picture that moves as the person in front of the camera does."""

    def __init__(self, picture: NDArray[np.uint8], extractor: Extractor) -> None:
        self.picture = picture
        self.enrolled = extractor.enrol(picture)
        self._driver: Motion | None = None

    def start(self, driver: Motion) -> None:
        """Take the driver's motion that corresponds to the picture: frontal, calm, eyes open."""
        self._driver = driver

    def drive(self, driving: Motion) -> Motion:
        """The avatar's motion for the driver's."""
        assert self._driver is not None
        return transfer(driving, self._driver, self.enrolled.motion)


def _tensor(picture: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]  # (1, 3, S, S)
