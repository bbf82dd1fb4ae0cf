"""What a profile costs: parameters and multiply-accumulates of its networks and of the three calls of a `TalkingHead`.

GMAC are counted by running the networks once, batch 1, under torch's flop counter: convolutions and matrix products;
sampling, normalisation and activations are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.errors import InputError
from model.motion import CanonicalKeypoints
from model.networks.discriminator import Discriminator
from model.networks.paper import PaperNetworks
from model.networks.paper_config import PAPER_PROFILES
from model.networks.small import SmallNetworks
from model.networks.small_config import SMALL

PROFILES = ("small", *PAPER_PROFILES)
"""Names that `describe` knows."""

STAGES = {
    "extract": "per frame, sender",
    "enrol": "per source image, receiver",
    "render": "per frame, receiver",
}
"""The rows of `describe` that stand for calls rather than networks, with when and where they run."""


@dataclass(frozen=True)
class ModuleCost:
    """One row: a network, or a call with all the networks that it runs."""

    name: str  # network, e.g. "dense_motion_network", or stage: "extract", "enrol", "render"
    parameters: int  # scalars that training adjusts
    gmac: float  # 10^9 multiply-accumulates of one run with batch 1


def describe(profile: str) -> list[ModuleCost]:
    """Costs of a profile: each network in the order of its use, the discriminator last, then the three `STAGES`.

    A network that both enrolment and extraction run stands once. Raises InputError for an unknown profile.
    """
    if profile == "small":
        # Real tensors: this profile is small enough, and may hold constants that have no meta kernel.
        return _costs(SmallNetworks(SMALL).eval(), torch.rand(1, 3, SMALL.size, SMALL.size))
    if profile not in PAPER_PROFILES:
        raise InputError(f"unknown profile {profile!r}; there are {', '.join(PROFILES)}")
    config = PAPER_PROFILES[profile]
    with torch.device("meta"):  # shapes without numbers: no memory, no time
        networks = PaperNetworks(config).eval()
        discriminator = Discriminator(config.discriminator).eval()
        image = torch.empty(1, 3, config.size, config.size)
    costs = _costs(networks, image)
    _, macs = _count(lambda: discriminator(image))
    training = ModuleCost("discriminator", _parameters(discriminator), macs / 1e9)
    return [*costs[: -len(STAGES)], training, *costs[-len(STAGES) :]]


def _costs(networks: PaperNetworks | SmallNetworks, image: Tensor) -> list[ModuleCost]:
    children = dict(networks.named_children())
    macs: dict[str, float] = {}
    stages: list[ModuleCost] = []

    def stage(name: str, call: Callable[[], Any]) -> Any:
        used: dict[str, float] = {}
        with FlopCounterMode(display=False) as counter, _attributed(children, counter, used):
            result = call()
        parameters = sum(_parameters(children[child]) for child in used)
        stages.append(ModuleCost(name, parameters, counter.get_total_flops() / 2e9))
        macs.update(used)
        return result

    def enrol() -> tuple[dict[str, Tensor], CanonicalKeypoints]:
        canonical, still = networks.canonical(image), networks.motion(image)
        return networks.appearance(image, canonical, still), canonical

    with torch.no_grad():
        motion = stage("extract", lambda: networks.motion(image))
        features, canonical = stage("enrol", enrol)
        stage("render", lambda: networks.synthesise(features, canonical, motion, motion))
    rows = [ModuleCost(name, _parameters(child), macs.get(name, 0.0) / 1e9) for name, child in children.items()]
    return rows + stages


@contextmanager
def _attributed(children: dict[str, nn.Module], counter: FlopCounterMode, used: dict[str, float]) -> Iterator[None]:
    """While open, note in `used` the multiply-accumulates that each of `children` runs."""
    handles = []
    for name, child in children.items():

        def before(*_: Any, name: str = name) -> None:
            used[name] = used.get(name, 0.0) - counter.get_total_flops() / 2

        def after(*_: Any, name: str = name) -> None:
            used[name] += counter.get_total_flops() / 2

        handles += [child.register_forward_pre_hook(before), child.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _count(call: Callable[[], Any]) -> tuple[Any, float]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops() / 2


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
