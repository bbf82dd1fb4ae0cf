"""Which device the model runs on."""

from __future__ import annotations

import torch

from model.errors import InputError


def choose_device(setting: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` to a device; auto takes the GPU when there is one.

    Raises InputError for any other text, and for a GPU that cannot be used here.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
        if device.type in ("cpu", "cuda"):
            torch.empty(0, device=device)
            return device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {setting!r} cannot be used ({str(error).splitlines()[0]})") from None
    raise InputError(f"device {setting!r} is none of auto, cpu, cuda and cuda:N")
