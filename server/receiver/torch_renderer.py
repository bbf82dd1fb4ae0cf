"""What a render engine drives: a model in torch, with pictures in and planes out as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.media.colour import rgb_to_yuv420p
from model.motion import Motion, View
from model.temporal_filter import FrameTime

if TYPE_CHECKING:
    from model.source_state import SourceState
    from model.window import Window


class Model(Protocol):
    """What is needed of `model.talking_head.TalkingHead`."""

    def enrol(self, image: Tensor) -> SourceState: ...
    def with_windows(self, state: SourceState, windows: Sequence[Window]) -> SourceState: ...

    def render(
        self,
        states: list[SourceState],
        motions: Motion,
        views: list[View] | None = None,
        frame_times: list[FrameTime] | None = None,
        size: int | None = None,
    ) -> Tensor: ...


class TorchRenderer:
    """Made on the thread that renders, whose number of threads in torch it sets. One thread."""

    def __init__(self, model: Model, threads: int = 0) -> None:
        """`threads`: of torch on a CPU; 0: one beside compiled graphs, else torch's choice."""
        self._model = model
        graphs = getattr(model, "engine", "torch") == "graphs"
        self.on_gpu = getattr(model, "device", torch.device("cpu")).type == "cuda"
        # Graphs take one frame at a time anyway.
        self.at_once = 1 if graphs else 32 if self.on_gpu else 4
        # Beside graphs torch only rounds and changes colours: two threads would wait for each other on busy cores.
        if threads := threads or int(graphs):
            torch.set_num_threads(threads)

    def enrol(self, image: NDArray[np.uint8]) -> SourceState:
        """A source image uint8 (S, S, 3) RGB."""
        return self._model.enrol(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))

    def with_windows(self, state: SourceState, windows: Sequence[Window]) -> SourceState:
        """A source image with windows beside it."""
        return self._model.with_windows(state, windows)

    @torch.inference_mode()
    def render(
        self,
        states: Sequence[SourceState],
        motions: Sequence[Motion],
        views: Sequence[View],
        frame_times: Sequence[FrameTime],
        size: int | None,
    ) -> NDArray[np.uint8]:
        """Planes (B, 3S/2, S) of pictures of one size; motions of one frame each, NumPy arrays."""
        stacked = Motion.stack(motions).to_torch()
        frames = self._model.render(list(states), stacked, list(views), list(frame_times), size)
        # One download for the whole batch; planes are half the bytes of RGB.
        planes: NDArray[np.uint8] = rgb_to_yuv420p(frames).cpu().numpy()
        return planes
