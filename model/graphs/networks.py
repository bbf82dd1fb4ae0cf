"""`GraphNetworks`: what `TalkingHead` asks of networks, with those that run for each frame as compiled graphs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import torch
from torch import Tensor, nn

from model.graphs.cache import GraphCache
from model.graphs.runtime import Graph, GraphError, compile_graph, multiplies_bfloat16, restore_graph
from model.graphs.tracing import ExtractionStage, RenderingStage, SurfaceStage, trace
from model.motion import POSE_SCALARS, RESIDUAL_FLOW_SCALARS, CanonicalKeypoints, Motion
from model.networks.rendered import Layers, Rendered
from model.networks.small import SmallNetworks
from model.networks.small.eye_enhancer import Enhance, EyeEnhancer

logger = logging.getLogger(__name__)

FRAME_TOLERANCE = 2 / 255
MOTION_TOLERANCE = 1e-3
FLOW_TOLERANCE = 4e-3
MASK_TOLERANCE = 0.05
LANDMARK_TOLERANCE = 0.05
"""How far a graph may be from torch: in a picture of [0, 1] and what it was made of, in a motion vector, in source
coordinates, in masks, and in landmarks, pixels of 192. Rounding stays far below all, that of bfloat16 below half."""

ROUNDED_TURN_TOLERANCE = 0.1
ROUNDED_MOTION_TOLERANCE = 0.01
"""The same in a motion vector of bfloat16: degrees of yaw, pitch and roll, and all else. The extractor itself differs
by thirty times as much between neighbouring frames of a still head."""


class GraphNetworks:
    """The small profile on a CPU: H + Delta, M alone and M with G as graphs; F and L, once per source, in torch,
    and so H + Delta of a source image, since the graph may round.

    A graph is made when it is first needed: a sender never renders, a receiver need not extract. Each has a batch of
    one and runs once per frame: four at a time take as long as four in turn (measured), and would be compiled in the
    middle of a call.
    """

    def __init__(
        self,
        networks: SmallNetworks,
        size: int,
        threads: int = 0,
        required: bool = False,
        cache: GraphCache | None = None,
        ahead: Sequence[str] = (),
    ) -> None:
        """The loaded networks in evaluation mode, for pictures of `size` pixels; threads: 0 takes every core.

        required: raise GraphError when a graph cannot be made; otherwise torch goes on in its place, with a warning.
        cache: where graphs of these networks are kept; None keeps none.
        ahead: graphs that are read from there at once, side by side, and waited for where they are asked for.
        """
        self._networks = networks
        self._size = size
        self._threads = threads
        self._required = required
        self._cache = cache or GraphCache(None)
        reading = ThreadPoolExecutor(max(1, len(ahead)), thread_name_prefix="graphs")
        self._ahead = {name: reading.submit(self._read, name) for name in ahead}
        reading.shutdown(wait=False)
        self._graphs: dict[str, Graph] = {}  # those made so far
        self._failed = False

    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format
    """Graphs take pictures in planes."""

    @property
    def compiled(self) -> bool:
        """Whether graphs run, as far as is known: False once one could not be made."""
        return not self._failed

    def canonical(self, image: Tensor) -> CanonicalKeypoints:
        """(B, 3, S, S) in [0, 1] -> canonical keypoints (B, K, 3)."""
        return self._networks.canonical(image)

    def appearance(self, image: Tensor, canonical: CanonicalKeypoints, motion: Motion) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1] -> the features a receiver caches, laid out as the graph reads them."""
        features = self._networks.appearance(image, canonical, motion)
        return {name: feature.contiguous() for name, feature in features.items()}

    def motion(self, image: Tensor) -> Motion:
        """(B, 3, S, S) in [0, 1] -> motion of batch shape (B,)."""
        graph = self._graph("extraction", self._make_extraction)
        if graph is None:
            return self._networks.motion(image)
        return Motion.from_vector(_one_by_one(graph, image))

    @property
    def landmarks(self) -> Callable[[Tensor], Tensor] | None:
        """Picture (1, 3, 192, 192) in [0, 1] -> (1, 1435), `model.landmarks.network`; None where there are none."""
        network = self._networks.landmarks
        if network is None:
            return None
        graph = self._graph("landmarks", lambda: self._make_landmarks(network))
        return network if graph is None else graph

    @property
    def enhance(self) -> Enhance | None:
        """Runs the enhancer for the two eyes of a face; None where there is none."""
        enhancer = self._networks.eye_enhancer
        if enhancer is None:
            return None
        graph = self._graph("eyes", lambda: self._make_eyes(enhancer))
        return enhancer if graph is None else graph

    def surface(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> tuple[Tensor, Tensor]:
        """Of every driving pixel: where it comes from, (B, 2, 2G, 2G), and to what it belongs, (B, K + 1, 2G, 2G)."""
        graph = self._graph("dense motion", self._make_surface)
        if graph is None:
            return self._networks.surface(features, canonical, source, driving)
        inputs = (canonical.points, source.flat(), driving.flat(), *features.values())
        found = _one_by_one(graph, *inputs)
        return found[:, :2], found[:, 2:]

    def synthesise(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> Rendered:
        """The source, seen in motion `source`, re-rendered in motion `driving`; batch shape B throughout."""
        graph = self._graph("rendering", self._make_rendering)
        if graph is None:
            return self._networks.synthesise(features, canonical, source, driving)
        inputs = (canonical.points, source.flat(), driving.flat(), *features.values())
        frame, fine, coarse = _each_one(graph, *inputs)
        layers = Layers(fine[:, :3], fine[:, 3:], coarse[:, :1], coarse[:, 1:2], coarse[:, 2:])
        return Rendered(frame, layers=layers)

    def _graph(self, name: str, make: Callable[[], Graph]) -> Graph | None:
        """The graph of that name, made when it is first asked for; None where torch goes on in its place."""
        if name in self._graphs or self._failed:
            return self._graphs.get(name)
        began = time.perf_counter()
        if (graph := self._restored(name)) is not None:
            self._graphs[name] = graph
            logger.info("%s read in %.1f s", name, time.perf_counter() - began)
            return graph
        try:
            graph = self._graphs[name] = make()
        except GraphError as error:
            if self._required:
                raise
            self._failed = True
            logger.warning("%s runs in torch: %s", name, error)
            return None
        logger.info("%s compiled in %.1f s", name, time.perf_counter() - began)
        self._cache.write(name, graph.exported())
        return graph

    def _restored(self, name: str) -> Graph | None:
        """The graph of that name as an earlier process compiled it and compared it with torch; None without one."""
        ahead = self._ahead.pop(name, None)
        return self._read(name) if ahead is None else ahead.result()

    def _read(self, name: str) -> Graph | None:
        exported = self._cache.read(name)
        if exported is None:
            return None
        try:
            return restore_graph(exported, self._threads)
        except GraphError as error:
            logger.info("%s is compiled again: %s", name, error)
            return None

    def _make_extraction(self) -> Graph:
        picture = self._picture()
        scalars = POSE_SCALARS + 3 * self._networks.config.keypoints + RESIDUAL_FLOW_SCALARS
        rounded = torch.full((scalars,), ROUNDED_MOTION_TOLERANCE)
        rounded[:3] = ROUNDED_TURN_TOLERANCE
        return self._checked(ExtractionStage(self._networks), (picture,), MOTION_TOLERANCE, rounded)

    def _make_landmarks(self, network: nn.Module) -> Graph:
        picture = nn.functional.interpolate(self._picture(), size=192, mode="bilinear", align_corners=False)
        return self._checked(network, (picture,), LANDMARK_TOLERANCE)

    def _make_eyes(self, enhancer: EyeEnhancer) -> Graph:
        return self._checked(enhancer, enhancer.examples(), FRAME_TOLERANCE, FRAME_TOLERANCE)

    def _make_surface(self) -> Graph:
        examples, names = self._examples()
        tolerance = torch.full((2 + 1 + self._networks.config.keypoints, 1, 1), MASK_TOLERANCE)
        tolerance[:2] = FLOW_TOLERANCE
        return self._checked(SurfaceStage(self._networks, names), examples, tolerance, tolerance)

    def _make_rendering(self) -> Graph:
        examples, names = self._examples()
        return self._checked(RenderingStage(self._networks, names), examples, FRAME_TOLERANCE, FRAME_TOLERANCE)

    def _examples(self) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
        """Arguments of what renders, and the names of the features, which come last."""
        picture = self._picture()
        with torch.inference_mode(False), torch.no_grad():
            canonical, motion = self._networks.canonical(picture), self._networks.motion(picture)
            features = self.appearance(picture, canonical, motion)
        source = motion.flat()
        driving = source.clone()
        driving[:, 0] += 10.0  # degrees of yaw: the flows are to differ from the identity
        return (canonical.points, source, driving, *features.values()), tuple(features)

    def _checked(
        self,
        module: nn.Module,
        examples: tuple[Tensor, ...],
        tolerance: float | Tensor,
        rounded: float | Tensor | None = None,
    ) -> Graph:
        """Compile, and compare each result with torch once: a wrong picture is worse than a slow one.

        rounded: the tolerance within which convolutions may be rounded; None: they may not.
        """
        traced = trace(module, examples)
        with torch.inference_mode():
            expected = module(*examples)
            expected = (expected,) if isinstance(expected, Tensor) else expected
        if rounded is not None and multiplies_bfloat16():
            graph = compile_graph(traced, examples, self._threads, rounded=True)
            if _difference(graph, examples, expected, rounded) is None:
                return graph
        graph = compile_graph(traced, examples, self._threads)
        if (difference := _difference(graph, examples, expected, tolerance)) is not None:
            raise GraphError(f"the compiled network differs from torch by {difference:.2g}")
        return graph

    def _picture(self) -> Tensor:
        """Noise (1, 3, S, S) in [0, 1] that is smooth enough to resemble a picture."""
        with torch.inference_mode(False):
            coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
            return nn.functional.interpolate(coarse, size=self._size, mode="bilinear", align_corners=False)


def _difference(
    graph: Graph, examples: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float | Tensor
) -> float | None:
    """The largest difference of a graph's results from those `expected`; None where all are within the tolerance."""
    with torch.inference_mode():
        for mine, theirs in zip(graph.outputs(*examples), expected, strict=True):
            difference = (mine - theirs).abs()  # not a number where one of them is none
            if not (difference <= tolerance).all():
                return float(difference.max())
    return None


def _one_by_one(graph: Graph, *inputs: Tensor) -> Tensor:
    """What a graph with one result, whose batch is one, makes of each of a batch."""
    return _each_one(graph, *inputs)[0]


def _each_one(graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """All results of a graph, whose batch is one, for each of a batch."""
    runs = [
        [result.clone() for result in graph.outputs(*(tensor[i : i + 1] for tensor in inputs))]
        for i in range(len(inputs[0]))
    ]
    return tuple(torch.cat(found) if len(found) > 1 else found[0] for found in zip(*runs, strict=True))
