"""The enhancer of eyes with the weights that ship."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file

from model.errors import WeightsError
from model.media.atomic_file import complete_file
from model.networks.small.eye_enhancer import EyeEnhancer
from model.weights.manifest import EYE_ENHANCER, read_weights


def load_eye_enhancer(path: Path = EYE_ENHANCER) -> EyeEnhancer:
    """In evaluation mode, its weights fixed.

    Raises WeightsError when the file is missing, damaged or of another network.
    """
    enhancer = EyeEnhancer()
    try:
        enhancer.load_state_dict({name: value.float() for name, value in load(read_weights(path)).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no enhancer of eyes: {str(error).splitlines()[0]}") from None
    return enhancer.eval().requires_grad_(False)


def write_eye_enhancer(enhancer: EyeEnhancer, path: Path) -> None:
    """Write weights in half precision, in place only when complete."""
    tensors = {name: value.half().contiguous() for name, value in enhancer.state_dict().items()}
    with complete_file(path) as partial:
        save_file(tensors, str(partial), metadata={"networks": "eye enhancer"})
