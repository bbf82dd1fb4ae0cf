"""What an objective is: the losses of one step. The training loop knows nothing else of them."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from model.networks.rendered import Rendered
from model.train.data import Batch


@dataclass(frozen=True)
class Outcome:
    """One step's losses and, where one was rendered, its picture."""

    total: Tensor  # () to be minimised
    parts: dict[str, Tensor]  # its weighted terms
    target: Tensor  # (G * N, 3, S, S) driving frames
    rendered: Rendered | None = None  # of the driving frames


@dataclass(frozen=True)
class BatchShape:
    """What a step's batch is made of."""

    groups: int  # source images
    driving: int  # driving frames of each
    stills: float  # share of groups that are photos moved by their own landmarks
    understood: bool = False  # no films but those whose background is known to stand or how it moves
    paired: bool = False  # driving frames are pairs of neighbours in time


class Objective(Protocol):
    """Losses of a profile's networks, as a function of the step, so that a resumed run goes on unchanged."""

    def shape(self, step: int) -> BatchShape:
        """What the step's batch is made of."""

    def label(self, batch: Batch, step: int) -> Batch:
        """The step's batch with what is slow to find out about it: made ahead, while the networks are busy."""

    def rate(self, step: int, progress: float) -> float:
        """Learning rate at a step and a share of the budget in [0, 1]."""

    def evaluate(self, batch: Batch, step: int, progress: float, seed: int) -> Outcome:
        """Losses of one batch."""

    def finish(self, outcome: Outcome) -> None:
        """Whatever trains beside the networks (a discriminator) takes its own step."""

    def state_dict(self) -> dict[str, Any]:
        """State of what trains beside the networks."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 on a GPU, float32 on a CPU, where half precision is slower."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def cosine(progress: float, final: float = 0.03) -> float:
    """1 at the beginning, `final` at the end, half a cosine between."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ramp(step: int, start: int, end: int) -> float:
    """0 up to `start`, 1 from `end`, linear between."""
    return min(1.0, max(0.0, (step - start) / max(1, end - start)))
