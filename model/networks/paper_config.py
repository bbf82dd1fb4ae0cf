"""The `paper` profile: the published shapes of face-vid2vid (arXiv 2011.15126).

It keeps the paper's feature volume of 32 x 16 x 64 x 64 at both picture sizes. `PaperConfig(size=512)` is the other way
to 512 px, with the 256 px weights on a volume of 128 x 128: the shapes allow it, at four times the cost.
"""

from __future__ import annotations

from dataclasses import replace

from model.networks.appearance import AppearanceConfig
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import GeneratorConfig
from model.networks.paper import PaperConfig

PAPER = PaperConfig()
"""256 px; the local map of a keypoint is the head rotation (version 3 of the paper)."""

PAPER_512 = PaperConfig(
    size=512,
    appearance=AppearanceConfig(widths=(64, 128, 256, 512)),  # one more halving on the way to the volume
    generator=GeneratorConfig(widths=(256, 128, 64, 32)),  # one more doubling on the way back
    discriminator=DiscriminatorConfig(scales=2),
)
"""512 px with the same volume; two discriminator scales, as the paper's appendix says."""

PAPER_PROFILES: dict[str, PaperConfig] = {
    "paper": PAPER,
    "paper-512": PAPER_512,
    "paper-jacobians": replace(PAPER, jacobians="learned"),  # version 1 of the paper
    "paper-512-jacobians": replace(PAPER_512, jacobians="learned"),
}
