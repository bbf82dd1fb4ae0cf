"""What the renderer of every profile gives back for a batch of driving frames."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layers:
    """Of what a frame was made, by which it is made sharp at twice the size; batch shape B."""

    pixels: Tensor  # (B, 3, S, S) the source's pixels, moved
    person: Tensor  # (B, 1, S, S) in [0, 1]: to which layer a pixel belongs, 1 the person
    hidden: Tensor  # (B, 1, 2G, 2G) in [0, 1]: the person's share in the source image where the background comes from
    trust: Tensor  # (B, 1, 2G, 2G) in [0, 1]: occlusion of the moved pixels
    flow: Tensor  # (B, 4, 2G, 2G) source x, y of the person's pixels and of the background's, crop units


@dataclass(frozen=True)
class Rendered:
    """Pictures and, for inspection and for training, the fields that led to them."""

    frame: Tensor  # (B, 3, S, S) RGB in [0, 1]
    flow: Tensor | None = None  # (B, H, W, 2) source x, y that each driving pixel reads, crop units [-1, 1]
    occlusion: Tensor | None = None  # (B, 1, H, W) in [0, 1]; 1 = the source shows what is needed here
    matte: Tensor | None = None  # (B, 1, S, S) in [0, 1]; 1 = the pixel is copied from the warped source picture
    layers: Layers | None = None  # None where a profile has no sharp pictures
