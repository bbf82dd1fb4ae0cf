"""The published face-vid2vid, assembled (arXiv 2011.15126, figures 2, 10 and 11).

A source image gives its feature volume f_s (by F), canonical keypoints x_c (by L) and its motion (by H and Delta); a
driving frame gives its motion alone. x_c moved by either motion are the keypoints of source and driving frame, from
which M derives flow and occlusion, with which G draws the driving frame out of f_s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.appearance import AppearanceConfig, AppearanceExtractor
from model.networks.canonical import CanonicalConfig, CanonicalDetector
from model.networks.dense_motion import DenseMotionConfig, DenseMotionNetwork, local_maps
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.networks.head_motion import HeadMotionConfig, HeadMotionEstimator
from model.networks.rendered import Rendered

Jacobians = Literal["rotation", "learned"]


@dataclass(frozen=True)
class PaperConfig:
    """Shapes of all networks; the defaults are the published ones at 256 px."""

    size: int = 256  # S, pixels of the square crop
    keypoints: int = 20  # K
    channels: int = 32  # C of the feature volume
    depth: int = 16  # D of the feature volume
    jacobians: Jacobians = "rotation"  # local map of a keypoint: head rotation (version 3) or learned (version 1)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)  # F
    canonical: CanonicalConfig = field(default_factory=CanonicalConfig)  # L
    head_motion: HeadMotionConfig = field(default_factory=HeadMotionConfig)  # H and Delta
    dense_motion: DenseMotionConfig = field(default_factory=DenseMotionConfig)  # M
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)  # G
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)  # D, built by the trainer alone

    def __post_init__(self) -> None:
        if len(self.appearance.widths) != len(self.generator.widths):
            raise ValueError("the generator must double the volume as often as the extractor halved the image")
        if self.size % (1 << (len(self.appearance.widths) - 1 + len(self.dense_motion.widths))):
            raise ValueError(f"{self.size} px cannot be halved as often as these networks do")
        if self.canonical.image_size % 2 ** len(self.canonical.widths):
            raise ValueError(f"the detector's {self.canonical.image_size} px cannot be halved as often as it does")

    @property
    def volume_size(self) -> int:
        """H = W of the feature volume."""
        return self.size >> (len(self.appearance.widths) - 1)


class PaperNetworks(nn.Module):
    """F, L, H + Delta, M and G behind the four calls that `TalkingHead` makes.

    Images are RGB (B, 3, S, S) in [0, 1]; a `Motion` has batch shape (B,).
    """

    compiled: ClassVar[bool] = False
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format  # most convolutions are 3D
    enhance: ClassVar[None] = None
    surface: ClassVar[None] = None  # its masks belong to the volume, and no frame is aligned by them

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.config = config
        k, c, d = config.keypoints, config.channels, config.depth
        self.appearance_extractor = AppearanceExtractor(config.appearance, c, d)
        self.canonical_detector = CanonicalDetector(config.canonical, k, d, config.jacobians == "learned")
        self.head_motion_estimator = HeadMotionEstimator(config.head_motion, k)
        self.dense_motion_network = DenseMotionNetwork(config.dense_motion, k, c, d)
        self.generator = Generator(config.generator, c, d)
        self.landmarks: nn.Module | None = None  # its keypoints are its own

    def canonical(self, image: Tensor) -> CanonicalKeypoints:
        """x_c (B, K, 3) and, if learned, J_c (B, K, 3, 3) of a source image."""
        keypoints: CanonicalKeypoints = self.canonical_detector(image)
        return keypoints

    def motion(self, image: Tensor) -> Motion:
        """Head pose and expression of any frame."""
        motion: Motion = self.head_motion_estimator(image)
        return motion

    def appearance(self, image: Tensor, canonical: CanonicalKeypoints, motion: Motion) -> dict[str, Tensor]:
        """The feature volume of a source image, whatever its keypoints: {"volume": (B, C, D, H, W)}."""
        return {"volume": self.appearance_extractor(image)}

    def synthesise(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> Rendered:
        """Render the source person in the driving motion; all arguments have the same batch size.

        `Rendered.flow` is the mean of the volume's flow over depth; there is no matte, since nothing copies pixels.
        """
        volume = features["volume"]  # (B, C, D, H, W)
        field = self.dense_motion_network(
            volume,
            compose(canonical, source),  # (B, K, 3)
            compose(canonical, driving),  # (B, K, 3)
            local_maps(canonical, source, driving),  # (B, K, 3, 3)
        )
        frame = self.generator(volume, field.flow, field.occlusion)  # (B, 3, S, S)
        return Rendered(frame, flow=field.flow[..., :2].mean(1), occlusion=field.occlusion)
