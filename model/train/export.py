"""From a training checkpoint to the weights file that ships: half precision, with the codec's statistics fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.codec.statistics import MotionStatistics
from model.description import small_profile
from model.errors import InputError
from model.graphs.engine import Engine
from model.landmarks.weights import load_landmark_network
from model.media.atomic_file import complete_file
from model.networks.small import SmallNetworks
from model.talking_head import TalkingHead
from model.train.prepare import Source
from model.train.statistics import fit_statistics
from model.weights.manifest import describe


def read_checkpoint(path: Path, last: bool = False) -> tuple[SmallNetworks, dict[str, Any]]:
    """The moving average of a training run, or its `last` weights, and {step, seconds}.

    Raises InputError when it is no such file.
    """
    networks = SmallNetworks()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        networks.load_state_dict(state["networks" if last else "average"])
    except (OSError, KeyError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no training checkpoint: {str(error).splitlines()[0]}") from None
    return networks.eval(), {"step": state["step"], "seconds": round(state["seconds"], 1)}


def head_of_checkpoint(
    path: Path, device: torch.device | str = "cpu", last: bool = False, engine: Engine = "torch"
) -> TalkingHead:
    """A model of a training's moving average or its `last` weights; its codec statistics are not fitted yet.

    Raises InputError when the file is no training checkpoint, and as `TalkingHead.load` does.
    """
    return _head(read_checkpoint(path, last)[0], path, device, engine)


def _head(networks: SmallNetworks, path: Path, device: torch.device | str, engine: Engine) -> TalkingHead:
    """A model of a checkpoint's networks, which are its own from then on, with the landmarks that it will run with."""
    networks.landmarks = load_landmark_network()
    profile = small_profile()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TalkingHead(profile, networks, MotionStatistics.default(profile.keypoints), digest, device, engine)


def export(checkpoint: Path, sources: Sequence[Source], out: Path, last: bool = False) -> dict[str, Any]:
    """Write `out`, the moving average or the `last` weights of a training run; returns its manifest entry.

    sources  films from which the codec's statistics are fitted
    """
    networks, about = read_checkpoint(checkpoint, last)
    tensors: dict[str, Tensor] = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in networks.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    # Last, for a `TalkingHead` folds the normalisation into the networks that it is given.
    statistics = fit_statistics(_head(networks, checkpoint, "cpu", "auto"), sources)
    return _write(out, tensors, statistics, {"profile": "small", "steps": str(about["step"])})


def export_statistics(weights: Path, sources: Sequence[Source], out: Path) -> dict[str, Any]:
    """Write `out`, a weights file whose codec statistics are fitted anew; returns its manifest entry.

    Raises WeightsError as `TalkingHead.load` does.
    """
    head = TalkingHead.load(weights, engine="auto", threads=1)
    with safe_open(weights, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("codec.")}  # noqa: SIM118
    return _write(out, tensors, fit_statistics(head, sources), metadata)


def _write(
    out: Path, tensors: dict[str, Tensor], statistics: MotionStatistics, metadata: dict[str, str]
) -> dict[str, Any]:
    codec = {f"codec.{name}": torch.from_numpy(array) for name, array in statistics.to_arrays().items()}
    with complete_file(out) as partial:
        save_file(tensors | codec, partial, metadata=metadata)
    return describe(out)
