"""From a training checkpoint to the weights file that ships: half precision, with the codec's statistics fitted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from model.codec.statistics import MotionStatistics
from model.errors import InputError
from model.graphs.engine import Engine
from model.media.atomic_file import complete_file
from model.motion import RESIDUAL_FLOW_SCALARS, Motion
from model.networks.small import SmallNetworks
from model.networks.small.config import EYES, MOUTH
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.tracker import track
from model.talking_head import TalkingHead, small_profile
from model.train.data import ClipSet
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
    """A model of a checkpoint's networks, which are its own from then on."""
    profile = small_profile()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TalkingHead(profile, networks, MotionStatistics.default(profile.keypoints), digest, device, engine)


def fit_statistics(head: TalkingHead, clips: ClipSet, clips_per_person: int = 2) -> MotionStatistics:
    """The codec's statistics from the motion that a sender of this model measures in some clips of each person."""
    chosen = [i for name in clips.names for i in clips.people[name][:clips_per_person]]
    filmed = [i for i in chosen if clips.clips[i].kind == "clip"]
    sequences = [sender_motion(head, clips, i) for i in tqdm(filmed, desc="motions", unit="clip")]
    frame_rates = [clips.clips[i].frame_rate for i in filmed]
    return MotionStatistics.fit(sequences, frame_rates, importance(head.profile.keypoints))


def sender_motion(head: TalkingHead, clips: ClipSet, index: int) -> NDArray[np.float32]:
    """Motion vectors (T, 139 + 3K) of a training clip as a sender measures them since the frame in its middle."""
    rows = torch.from_numpy(clips.clips[index].rows)
    extracted, thumbnails = [], []
    for start in range(0, len(rows), 32):
        crops = clips.frames[rows[start : start + 32]]
        extracted.append(head.extract(crops.permute(0, 3, 1, 2)).to_numpy())
        thumbnails += [thumbnail(crop) for crop in crops.cpu().numpy()]
    motions, middle = Motion.concatenate(extracted), len(rows) // 2
    state = head.enrol(clips.frames[rows[middle]].permute(2, 0, 1))
    aligner = head.aligner(state, GreyPyramid(thumbnails[middle]))
    return track(np.stack(thumbnails), motions, middle, head.profile.layout, aligner).to_vector()


def importance(keypoints: int) -> NDArray[np.float32]:
    """Weight (3K + 128,) of each value of the deformation: eyes and mouth count double, depth, hardly seen, less."""
    weight = np.ones((keypoints, 3), np.float32)
    weight[list(EYES + MOUTH)] = 2.0
    weight[:, 2] *= 0.4
    return np.concatenate([weight.reshape(-1), np.ones(RESIDUAL_FLOW_SCALARS, np.float32)])


def export(checkpoint: Path, clips: ClipSet, out: Path, last: bool = False) -> dict[str, Any]:
    """Write `out`, the moving average or the `last` weights of a training run; returns its manifest entry."""
    networks, about = read_checkpoint(checkpoint, last)
    tensors: dict[str, Tensor] = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in networks.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    # Last, for a `TalkingHead` folds the normalisation into the networks that it is given.
    statistics = fit_statistics(_head(networks, checkpoint, "cpu", "auto"), clips)
    tensors |= {f"codec.{name}": torch.from_numpy(array) for name, array in statistics.to_arrays().items()}
    with complete_file(out) as partial:
        save_file(tensors, partial, metadata={"profile": "small", "steps": str(about["step"])})
    return describe(out)
