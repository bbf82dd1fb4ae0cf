"""A network with weights from a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from model.errors import WeightsError
from model.weights.manifest import read_weights

_Network = TypeVar("_Network", bound=nn.Module)


def with_weights(network: _Network, path: Path) -> _Network:
    """The network in evaluation mode, its weights read in single precision and fixed.

    Raises WeightsError when the file is missing, damaged or of another network.
    """
    try:
        network.load_state_dict({name: value.float() for name, value in load(read_weights(path)).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no {type(network).__name__}: {str(error).splitlines()[0]}") from None
    return network.eval().requires_grad_(False)
