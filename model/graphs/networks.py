"""`GraphNetworks`: what `TalkingHead` asks of networks, with those that run for each frame as compiled graphs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.graphs.runtime import Graph, GraphError
from model.graphs.tracing import Extraction, Rendering, motion_vector, trace
from model.motion import CanonicalKeypoints, Motion
from model.networks.rendered import Rendered
from model.networks.small import SmallNetworks

logger = logging.getLogger(__name__)

FRAME_TOLERANCE = 2 / 255
MOTION_TOLERANCE = 1e-3
"""How far a graph may be from torch: in a frame of [0, 1], and in a motion vector. Rounding stays far below both."""


class GraphNetworks:
    """The small profile on a CPU: H + Delta and M with G as graphs, F and L, which run once per source, in torch.

    A graph is made when it is first needed: a sender never renders. Each has a batch of one and runs once per frame:
    four at a time take as long as four in turn (measured), and would be compiled in the middle of a call.
    """

    def __init__(self, networks: SmallNetworks, size: int, threads: int = 0, required: bool = False) -> None:
        """The loaded networks in evaluation mode, for pictures of `size` pixels; threads: 0 takes every core.

        required: raise GraphError when a graph cannot be made; otherwise torch goes on in its place, with a warning.
        """
        self._networks = networks
        self._size = size
        self._threads = threads
        self._required = required
        self._extraction: Graph | None = None
        self._rendering: Graph | None = None
        self._failed = False

    @property
    def compiled(self) -> bool:
        """Whether graphs run, as far as is known: False once one could not be made."""
        return not self._failed

    def canonical(self, image: Tensor) -> CanonicalKeypoints:
        """(B, 3, S, S) in [0, 1] -> canonical keypoints (B, K, 3)."""
        return self._networks.canonical(image)

    def appearance(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1] -> the features a receiver caches, laid out as the graph reads them."""
        return {name: feature.contiguous() for name, feature in self._networks.appearance(image).items()}

    def motion(self, image: Tensor) -> Motion:
        """(B, 3, S, S) in [0, 1] -> motion of batch shape (B,)."""
        if self._extraction is None and not self._failed:
            self._extraction = self._made("extraction", self._make_extraction)
        graph = self._extraction
        if graph is None:
            return self._networks.motion(image)
        return Motion.from_vector(torch.cat([graph(image[i : i + 1]).clone() for i in range(len(image))]))

    def synthesise(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> Rendered:
        """The source, seen in motion `source`, re-rendered in motion `driving`; batch shape B throughout."""
        if self._rendering is None and not self._failed:
            self._rendering = self._made("rendering", self._make_rendering)
        graph = self._rendering
        if graph is None:
            return self._networks.synthesise(features, canonical, source, driving)
        inputs = (canonical.points, motion_vector(source), motion_vector(driving), *features.values())
        frames = [graph(*(tensor[i : i + 1] for tensor in inputs)).clone() for i in range(len(driving))]
        return Rendered(torch.cat(frames) if len(frames) > 1 else frames[0])

    def _made(self, name: str, make: Callable[[], Graph]) -> Graph | None:
        began = time.perf_counter()
        try:
            graph = make()
        except GraphError as error:
            if self._required:
                raise
            self._failed = True
            logger.warning("%s runs in torch: %s", name, error)
            return None
        logger.info("%s compiled in %.1f s", name, time.perf_counter() - began)
        return graph

    def _make_extraction(self) -> Graph:
        return self._checked(Extraction(self._networks), (self._picture(),), MOTION_TOLERANCE)

    def _make_rendering(self) -> Graph:
        picture = self._picture()
        with torch.inference_mode(False), torch.no_grad():
            features = self.appearance(picture)
            points = self._networks.canonical(picture).points
            source = motion_vector(self._networks.motion(picture))
        driving = source.clone()
        driving[:, 0] += 10.0  # degrees of yaw: the flows are to differ from the identity
        examples = (points, source, driving, *features.values())
        return self._checked(Rendering(self._networks, tuple(features)), examples, FRAME_TOLERANCE)

    def _checked(self, module: nn.Module, examples: tuple[Tensor, ...], tolerance: float) -> Graph:
        """Compile, and compare with torch once: a wrong picture is worse than a slow one."""
        graph = Graph(trace(module, examples), examples, self._threads)
        with torch.inference_mode():
            difference = float((module(*examples) - graph(*examples)).abs().max())
        if not difference <= tolerance:  # also when it is not a number
            raise GraphError(f"the compiled network is off by {difference:.2g}")
        return graph

    def _picture(self) -> Tensor:
        """Noise (1, 3, S, S) in [0, 1] that is smooth enough to look like something."""
        with torch.inference_mode(False):
            coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
            return nn.functional.interpolate(coarse, size=self._size, mode="bilinear", align_corners=False)
