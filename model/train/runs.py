"""What a training run is put together from: networks where they start, and the objective that fits them."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model.errors import InputError
from model.networks.discriminator import DiscriminatorConfig
from model.networks.paper import PaperNetworks
from model.networks.paper_config import PAPER
from model.networks.small import SmallNetworks
from model.networks.small_config import FREE
from model.perceptual.networks import Lpips, VggFeatures
from model.teacher.silhouette_weights import load_silhouette
from model.train.adversary import Adversary
from model.train.correspondence import optical_flow
from model.train.data import ClipSet
from model.train.export import read_checkpoint
from model.train.guided import GuidedConfig, GuidedObjective
from model.train.objective import Objective
from model.train.published import PublishedConfig, PublishedObjective

SETTLED_BELOW = 8
"""Source images a step: fewer are too few to normalise by, and trained weights keep the normalisation they have."""


def networks_of(profile: str, clips: ClipSet) -> SmallNetworks | PaperNetworks:
    """Untrained networks on the clips' device; the small ones start at the mean face of the training people."""
    networks: SmallNetworks | PaperNetworks
    if profile == "paper":
        networks = PaperNetworks(PAPER)
    else:
        networks = SmallNetworks()
        load_silhouette(networks.silhouette)
        free = torch.tensor(FREE, dtype=torch.float32)  # the body's keypoints have no canonical place
        networks.canonical_detector.mean.copy_(torch.cat([clips.canonical_mean(), free]))
        networks.motion_extractor.pose_mean.copy_(clips.pose_mean())
    networks = networks.to(clips.device)
    nn.Module.to(networks, memory_format=networks.memory_format)  # type: ignore[call-overload]
    return networks


def start_from_weights(networks: nn.Module, path: Path) -> None:
    """Continue from exported weights. Raises InputError when the file is missing, damaged or of other networks."""
    try:
        tensors = load_file(path)
        counters = {
            name: value for name, value in networks.state_dict().items() if name.endswith("num_batches_tracked")
        }
        state = {name: value.float() for name, value in tensors.items() if not name.startswith("codec.")}
        networks.load_state_dict(counters | state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} holds no weights of these networks: {str(error).splitlines()[0]}") from None


def _earlier(path: Path) -> SmallNetworks:
    """The networks that a run begins with. Raises InputError as `start_from_weights` and `read_checkpoint` do."""
    if path.suffix != ".safetensors":
        return read_checkpoint(path, last=True)[0]
    networks = SmallNetworks()
    start_from_weights(networks, path)
    return networks


def objective_of(
    options: argparse.Namespace, networks: SmallNetworks | PaperNetworks, device: torch.device
) -> Objective:
    """The objective that the command line asks for."""
    if isinstance(networks, SmallNetworks) and options.objective != "published":
        guided = GuidedConfig(
            groups=options.groups,
            driving=options.driving,
            rate=options.rate or GuidedConfig.rate,
            keypoint_steps=options.keypoint_steps,
            keypoint_rate=options.keypoint_rate,
            flow_steps=options.flow_steps,
            fixed_keypoints=options.fixed_keypoints,
            photos=options.photos,
            paired=options.pairs,
            settled=options.start is not None and options.groups < SETTLED_BELOW,
            teacher=tuple(options.teacher),
            adversary_from=1.0 if options.adversary is None else options.adversary,
        )
        adversary = (
            None if options.adversary is None else Adversary(DiscriminatorConfig(widths=(32, 64, 128, 256)), device)
        )
        kept = None
        if options.start is not None and options.keypoint_steps:
            kept = _earlier(options.start).to(device)
        return GuidedObjective(networks, Lpips().to(device), guided, adversary, optical_flow, kept)
    published = PublishedConfig(groups=options.groups, rate=options.rate or PublishedConfig.rate)
    return PublishedObjective(networks, VggFeatures().to(device), Adversary(DiscriminatorConfig(), device), published)
