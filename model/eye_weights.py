"""Weights of the enhancer of eyes, a file beside those of the networks on whose pictures it was trained."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from model.media.atomic_file import complete_file
from model.network_weights import with_weights
from model.networks.small.eye_enhancer import EyeEnhancer


def load_eye_enhancer(path: Path) -> EyeEnhancer:
    """In evaluation mode, its weights fixed.

    Raises WeightsError when the file is missing, damaged or of another network.
    """
    return with_weights(EyeEnhancer(), path)


def write_eye_enhancer(enhancer: EyeEnhancer, path: Path) -> None:
    """Write weights in half precision, in place only when complete."""
    tensors = {name: value.half().contiguous() for name, value in enhancer.state_dict().items()}
    with complete_file(path) as partial:
        save_file(tensors, str(partial), metadata={"networks": "eye enhancer"})
