"""Landmark network and face detector with the weights that ship."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from model.errors import WeightsError
from model.landmarks.detector import FaceDetector
from model.landmarks.network import LandmarkNetwork
from model.weights.manifest import FACE_DETECTOR, LANDMARKS, read_weights

_Network = TypeVar("_Network", bound=nn.Module)


def load_landmark_network(path: Path = LANDMARKS) -> LandmarkNetwork:
    """The network in evaluation mode, its weights fixed.

    Raises WeightsError when the file is missing, damaged or of another network.
    """
    return _loaded(LandmarkNetwork(), path)


def load_face_detector(path: Path = FACE_DETECTOR) -> FaceDetector:
    """The detector in evaluation mode. Raises WeightsError as above."""
    return _loaded(FaceDetector(), path)


def _loaded(network: _Network, path: Path) -> _Network:
    try:
        network.load_state_dict({name: value.float() for name, value in load(read_weights(path)).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no {type(network).__name__}: {str(error).splitlines()[0]}") from None
    return network.eval().requires_grad_(False)
