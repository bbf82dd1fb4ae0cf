"""Weights of the silhouette network, MediaPipe's selfie segmentation; kept as `weights/silhouette.safetensors`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.description import WEIGHTS
from model.errors import WeightsError
from model.media.atomic_file import complete_file
from model.networks.small.silhouette import SmallSilhouette
from model.teacher.landmarks import PYTHON
from model.teacher.published import read_published
from model.teacher.published_process import CONVOLUTION, DEPTHWISE, TRANSPOSED

SILHOUETTE = WEIGHTS.with_name("silhouette.safetensors")
FILE = "modules/selfie_segmentation/selfie_segmentation.tflite"
SHA256 = "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c"
"""Of selfie_segmentation.tflite in mediapipe 0.10.21, Apache License 2.0."""


def load_silhouette(network: SmallSilhouette, path: Path = SILHOUETTE) -> None:
    """Give an untrained network its weights. Raises WeightsError when the file is missing, damaged or of another."""
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no silhouette network: {str(error).splitlines()[0]}") from None


def fetch_silhouette(out: Path, python: Path = PYTHON) -> None:
    """Write `out` from MediaPipe's package in the teacher's environment.

    Raises as `read_published` does.
    """
    state = silhouette_state(read_published(FILE, SHA256, python))
    with complete_file(out) as partial:
        save_file(state, partial)


def silhouette_state(arrays: dict[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    """What `published_process` wrote as the state of a `SmallSilhouette`, half precision, whose convolutions run in
    the order in which they are declared.

    Raises WeightsError when they are not that network's.
    """
    network = SmallSilhouette()
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    if len(arrays) != 3 * len(layers):
        raise WeightsError(f"{len(arrays) // 3} convolutions, {len(layers)} are wanted")
    state: dict[str, Tensor] = {}
    for index, (name, layer) in enumerate(layers):
        kind = TRANSPOSED if isinstance(layer, nn.ConvTranspose2d) else DEPTHWISE if layer.groups > 1 else CONVOLUTION
        weight, bias = (torch.from_numpy(np.asarray(arrays[f"{index} {part}"])) for part in ("weight", "bias"))
        # Outputs come first in torch, but for a transposed convolution; a depthwise one has a single input.
        weight = weight.permute(0, 3, 1, 2) if kind == CONVOLUTION else weight.permute(3, 0, 1, 2)
        if int(arrays[f"{index} kind"]) != kind or weight.shape != layer.weight.shape:
            raise WeightsError(f"convolution {index} does not fit {name}")
        state |= {f"{name}.weight": weight.contiguous(), f"{name}.bias": bias.contiguous()}
    return state
