"""The per-frame networks as functions of tensors alone, and their traces."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion
from model.networks.small import SmallNetworks


class ExtractionStage(nn.Module):
    """H and Delta: picture (B, 3, S, S) in [0, 1] -> motion vectors (B, 139 + 3K), ordered as by `Motion.to_vector`."""

    def __init__(self, networks: SmallNetworks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, picture: Tensor) -> Tensor:
        motion: Motion = self.networks.motion(picture)
        vector: Tensor = motion.flat()
        return vector


class _OfSource(nn.Module):
    """What keypoints (B, K, 3), motion vectors (B, 139 + 3K) of source and driving frame, and features are given to.

    names   of the features, in the order in which they are given
    """

    def __init__(self, networks: SmallNetworks, names: tuple[str, ...]) -> None:
        super().__init__()
        self.networks = networks
        self.names = names

    def named(
        self, points: Tensor, source: Tensor, driving: Tensor, features: tuple[Tensor, ...]
    ) -> tuple[dict[str, Tensor], CanonicalKeypoints, Motion, Motion]:
        """The same as the networks' methods take it."""
        named = dict(zip(self.names, features, strict=True))
        return named, CanonicalKeypoints(points), Motion.from_vector(source), Motion.from_vector(driving)


class RenderingStage(_OfSource):
    """M and G: -> frame (B, 3, S, S), and of its layers pixels and person (B, 4, S, S), and the rest (B, 6, 2G, 2G)."""

    def forward(
        self, points: Tensor, source: Tensor, driving: Tensor, *features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        rendered = self.networks.synthesise(*self.named(points, source, driving, features))
        layers = rendered.layers
        assert layers is not None
        fine = torch.cat([layers.pixels, layers.person], 1)
        return rendered.frame, fine, torch.cat([layers.hidden, layers.trust, layers.flow], 1)


class SurfaceStage(_OfSource):
    """M: -> where driving pixels come from, and to what they belong, (B, 2 + K + 1, 2G, 2G)."""

    def forward(self, points: Tensor, source: Tensor, driving: Tensor, *features: Tensor) -> Tensor:
        return torch.cat(self.networks.surface(*self.named(points, source, driving, features)), 1)


def trace(module: nn.Module, examples: tuple[Tensor, ...]) -> Any:
    """The operations of `module`, a `torch.jit.ScriptModule`; shapes are those of the examples from now on."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # Sizes that become constants are what is wanted here: a graph has one shape.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Its successor, torch.export, gives the same graph and takes ten times as long, at every start of a server.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        return torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]
