"""A tiny synthetic clip: a public-domain portrait that moves under the crop."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from model.evaluate.clips import Clip
from model.talking_head import TalkingHead


def moving_portrait(count: int = 5) -> NDArray[np.uint8]:
    """Frames (T, 256, 256, 3) of a crop that drifts over the portrait."""
    image = data.astronaut()
    return np.stack([image[2 * i : 256 + 2 * i, 96 + 3 * i : 352 + 3 * i] for i in range(count)])


def extracted(head: TalkingHead, name: str, frames: NDArray[np.uint8]) -> Clip:
    """A clip at 25 frames a second with its motion."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
    measured = np.ones(len(frames), np.bool_)
    return Clip(name, frames, 25.0, head.extract(pictures).to_numpy(), head.canonical(pictures[:1]), measured)
