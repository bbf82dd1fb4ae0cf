"""Stand-ins that keep the receiver's tests fast: a model that paints, a clock that is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.motion import CanonicalKeypoints, Motion, View

K = 4
SIZE = 64


@dataclass(frozen=True)
class FakeProfile:
    name: str = "fake"
    keypoints: int = K
    size: int = SIZE
    motion_size: int = 7 + 3 * K


@dataclass(frozen=True)
class FakeState:
    """A source image stands for itself."""

    image: Tensor
    nbytes: int = 1000
    canonical: CanonicalKeypoints | None = None
    motion: Motion | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class PaintingModel:
    """Renders the source image with its brightness moved by yaw, so that tests can read motion off pictures."""

    profile: FakeProfile = field(default_factory=FakeProfile)
    batches: list[int] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    gate: threading.Event | None = None  # rendering waits for it when set
    fail: bool = False

    def enrol(self, image: Tensor) -> Any:
        return FakeState(image)

    def render(self, states: Sequence[Any], motions: Motion, views: Sequence[View] | None = None) -> Tensor:
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.fail:
            raise RuntimeError("the model broke")
        self.batches.append(len(states))
        self.views.extend(views or [])
        pictures = torch.stack([state.image for state in states]).float()
        return (pictures + torch.as_tensor(motions.yaw).float()[:, None, None, None]).clamp(0, 255).to(torch.uint8)


class FakeClock:
    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def motion(yaw: float = 0.0, keypoints: int = K) -> Motion:
    return Motion(
        yaw=np.float32(yaw),
        pitch=np.float32(0),
        roll=np.float32(0),
        translation=np.zeros(3, np.float32),
        scale=np.float32(1),
        expression=np.zeros((keypoints, 3), np.float32),
    )
