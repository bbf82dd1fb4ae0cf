"""Weights of MediaPipe's landmark network and face detector, made anew from its package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from model.errors import WeightsError
from model.landmarks.detector import FaceDetector
from model.landmarks.network import LandmarkNetwork
from model.media.atomic_file import complete_file
from model.teacher.landmarks import PYTHON
from model.teacher.published import read_published
from model.teacher.published_process import CONVOLUTION, DEPTHWISE, PRELU


@dataclass(frozen=True)
class Published:
    """A network in mediapipe 0.10.21, Apache License 2.0."""

    file: str  # within the package
    sha256: str
    network: type[LandmarkNetwork] | type[FaceDetector]


LANDMARKS = Published(
    "modules/face_landmark/face_landmark_with_attention.tflite",
    "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
    LandmarkNetwork,
)
FACE_DETECTOR = Published(
    "modules/face_detection/face_detection_short_range.tflite",
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    FaceDetector,
)


def fetch(published: Published, out: Path, python: Path = PYTHON) -> None:
    """Write `out`, half precision as published, from MediaPipe's package in the teacher's environment.

    Raises as `read_published` does.
    """
    state = state_of(read_published(published.file, published.sha256, python), published.network())
    with complete_file(out) as partial:
        save_file(state, partial)


def state_of(arrays: dict[str, NDArray[np.generic]], network: LandmarkNetwork | FaceDetector) -> dict[str, Tensor]:
    """What `published_process` wrote as the state of a network, half precision.

    Raises WeightsError when they are not that network's.
    """
    layers = network.layers()
    count = sum(name.endswith("kind") for name in arrays)
    if count != len(layers):
        raise WeightsError(f"{count} layers, {len(layers)} are wanted")
    state: dict[str, Tensor] = {}
    for index, (name, layer) in enumerate(layers):
        weight = torch.from_numpy(np.asarray(arrays[f"{index} weight"]))
        if isinstance(layer, nn.Conv2d):
            kind = DEPTHWISE if layer.groups > 1 else CONVOLUTION
            # Outputs come first in torch; a depthwise one has a single input.
            weight = weight.permute(3, 0, 1, 2) if kind == DEPTHWISE else weight.permute(0, 3, 1, 2)
        else:
            kind, weight = PRELU, weight.flatten()
        if int(arrays[f"{index} kind"]) != kind or weight.shape != layer.weight.shape:
            raise WeightsError(f"layer {index} does not fit {name}")
        state[f"{name}.weight"] = weight.contiguous()
        if kind != PRELU:
            state[f"{name}.bias"] = torch.from_numpy(np.asarray(arrays[f"{index} bias"]))
    return state
