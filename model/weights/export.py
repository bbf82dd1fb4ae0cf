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

from model.alignment import SmallAligner
from model.atomic_file import complete_file
from model.codec.statistics import MotionStatistics
from model.errors import InputError
from model.motion import Motion
from model.networks.small import SmallNetworks
from model.profiles.small import EYES, MOUTH
from model.registration import Picture, thumbnail
from model.talking_head import TalkingHead, small_profile
from model.tracking import track
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


def head_of_checkpoint(path: Path, device: torch.device) -> TalkingHead:
    """A model of a running training's moving average, to be looked at; its codec statistics are not fitted yet.

    Raises InputError when the file is no training checkpoint.
    """
    networks, _ = read_checkpoint(path)
    profile = small_profile()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TalkingHead(profile, networks, MotionStatistics.default(profile.keypoints), digest, device)


@torch.inference_mode()
def fit_statistics(networks: SmallNetworks, clips: ClipSet, clips_per_person: int = 2) -> MotionStatistics:
    """The codec's statistics from the motion that these networks extract from some clips of each person."""
    chosen = [i for name in clips.names for i in clips.people[name][:clips_per_person]]
    filmed = [i for i in chosen if clips.clips[i].kind == "clip"]
    sequences = [told(networks, clips, i) for i in tqdm(filmed, desc="motions", unit="clip")]
    frame_rates = [clips.clips[i].frame_rate for i in filmed]
    return MotionStatistics.fit(sequences, frame_rates, importance(networks.config.keypoints))


@torch.inference_mode()
def told(networks: SmallNetworks, clips: ClipSet, index: int) -> NDArray[np.float32]:
    """Motion vectors (T, 11 + 3K) of a training clip as a sender tells them since the frame in its middle."""
    rows = torch.from_numpy(clips.clips[index].rows)
    vectors, thumbnails = [], []
    for start in range(0, len(rows), 32):
        crops = clips.frames[rows[start : start + 32]]
        vectors.append(networks.motion(_pictures(crops)).to_vector())
        thumbnails += [thumbnail(crop) for crop in crops.cpu().numpy()]
    motions, middle = Motion.from_vector(np.concatenate(vectors)), len(rows) // 2
    canonical = networks.canonical(_pictures(clips.frames[rows[middle : middle + 1]]))
    aligner = SmallAligner(networks.dense_motion, canonical, motions[middle], Picture(thumbnails[middle]))
    return track(np.stack(thumbnails), motions, middle, networks.config.body, aligner).to_vector()


def _pictures(crops: Tensor) -> Tensor:
    """uint8 (B, S, S, 3) -> (B, 3, S, S) in [0, 1]."""
    return (crops.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def importance(keypoints: int) -> NDArray[np.float32]:
    """Weight (3K,) of each deformation value: eyes and mouth count double, depth, which hardly shows, less."""
    weight = np.ones((keypoints, 3), np.float32)
    weight[list(EYES + MOUTH)] = 2.0
    weight[:, 2] *= 0.4
    return weight.reshape(-1)


def export(checkpoint: Path, clips: ClipSet, out: Path, last: bool = False) -> dict[str, Any]:
    """Write `out`, the moving average or the `last` weights of a training run; returns its manifest entry."""
    networks, about = read_checkpoint(checkpoint, last)
    statistics = fit_statistics(networks, clips)
    tensors: dict[str, Tensor] = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in networks.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    tensors |= {f"codec.{name}": torch.from_numpy(array) for name, array in statistics.to_arrays().items()}
    with complete_file(out) as partial:
        save_file(tensors, partial, metadata={"profile": "small", "steps": str(about["step"])})
    return describe(out)
