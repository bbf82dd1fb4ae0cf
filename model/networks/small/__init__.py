"""Networks of the `small` profile, one file each; assembled here. Know nothing of files, codecs or servers.

appearance.py    F: image -> volume and skips         (once per source image)
silhouette.py    image -> person and what is behind   (once per source image)
encoder.py       L: image -> canonical keypoints      (once per source image)
                 H, Delta: image -> motion            (each frame, on the sender)
dense_motion.py  M: keypoints -> flow, occlusion      (each frame, on the receiver)
generator.py     G: warped features -> frame          (each frame, on the receiver)
window.py        the part of a picture that G paints  (each frame, on the receiver)
eyes.py          what lies between the lids           (each frame, on the receiver)
eye_enhancer.py  what drawing gets wrong in eyes      (each frame, on the receiver)
eye_windows.py   eyes as eye windows show them        (each frame, on the receiver)
mouth.py         mouths as mouth windows show them    (each frame, on the receiver)
nearness.py      how much each of several windows counts,
spline.py        how one is moved, and
overlay.py       how it is laid over a frame          (each frame, on the receiver)
sharp.py         detail at twice the size             (each frame, on the receiver)
guided.py        landmarks as the face's keypoints    (each frame, on the sender; once per source image)
articulation.py  how far lids and lips are moved      (each frame, on the receiver)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.rendered import Rendered
from model.networks.small.appearance import SmallAppearance
from model.networks.small.dense_motion import SmallDenseMotion
from model.networks.small.encoder import SmallCanonical, SmallMotion
from model.networks.small.eye_enhancer import Enhance, EyeEnhancer
from model.networks.small.generator import SmallGenerator
from model.networks.small.silhouette import SmallSilhouette, cut_out, oval
from model.networks.small.window import Window
from model.networks.small_config import SMALL, SmallConfig


class SmallNetworks(nn.Module):
    """F, L, H + Delta, M and G of the small profile, and who is in front of what."""

    compiled: ClassVar[bool] = False
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """The layout in which 2D convolutions are fastest."""

    def __init__(self, config: SmallConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        self.appearance_extractor = SmallAppearance(config)
        self.silhouette = SmallSilhouette()
        self.canonical_detector = SmallCanonical(config)
        self.motion_extractor = SmallMotion(config)
        self.dense_motion = SmallDenseMotion(config)
        self.generator = SmallGenerator(config)
        self.landmarks: nn.Module | None = None
        """Published, not trained here and kept in a file of its own; None for untrained networks."""
        self.eye_enhancer: EyeEnhancer | None = None
        """Trained on what the others draw, and kept in a file of its own; None for untrained networks."""

    @property
    def enhance(self) -> Enhance | None:
        """Runs the enhancer of eyes; None without one."""
        return self.eye_enhancer

    def canonical(self, image: Tensor) -> CanonicalKeypoints:
        """(B, 3, S, S) in [0, 1] -> canonical keypoints (B, K, 3)."""
        out: CanonicalKeypoints = self.canonical_detector(image)
        return out

    def motion(self, image: Tensor) -> Motion:
        """(B, 3, S, S) in [0, 1] -> motion of batch shape (B,)."""
        out: Motion = self.motion_extractor(image)
        return out

    def appearance(self, image: Tensor, canonical: CanonicalKeypoints, motion: Motion) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1], its canonical keypoints and its motion -> the features a receiver caches."""
        features: dict[str, Tensor] = self.appearance_extractor(image)
        with torch.no_grad():  # not trained here
            face = compose(canonical, motion)[:, self.config.layout.face, :2]
            person = torch.maximum(self.silhouette(image), oval(face, image.shape[-1]))
            person, backdrop = cut_out(image, person)
        return features | {"person": person, "backdrop": backdrop}

    def surface(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> tuple[Tensor, Tensor]:
        """Of every driving pixel: where it comes from, (B, 2, 2G, 2G), and to what it belongs, (B, K + 1, 2G, 2G)."""
        motion = self.dense_motion(features, canonical, source, driving)
        return motion.flow.permute(0, 3, 1, 2), motion.masks

    def synthesise(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> Rendered:
        """The source, seen in motion `source`, re-rendered in motion `driving`; batch shape B throughout."""
        window = Window.around(compose(canonical, driving)[:, self.config.layout.face, :2])
        motion = self.dense_motion(features, canonical, source, driving, window)
        out: Rendered = self.generator(features, motion, window)
        return out
