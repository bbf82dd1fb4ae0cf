"""The published networks under each of the six losses: a few steps on one synthetic batch lower it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import Motion, compose
from model.networks.discriminator import Discriminator
from model.networks.paper import PaperNetworks
from model.train import losses
from model.train.transform import RandomTransform
from tests.model.networks.test_paper import TINY


def edges(frame: Tensor) -> Sequence[Tensor]:
    """A stand-in for a perceptual network: colours and their differences."""
    return [frame, frame.diff(dim=-1), frame.diff(dim=-2)]


@dataclass(frozen=True)
class Step:
    """One pass of the whole model over the batch, as the losses see it."""

    frame: Tensor
    target: Tensor
    points: Tensor
    twisted_points: Tensor
    twist: RandomTransform
    driving: Motion
    teacher: Motion
    discriminator: Discriminator


LOSSES: dict[str, Callable[[Step], Tensor]] = {
    "perceptual": lambda s: losses.perceptual_loss(s.frame, s.target, edges, layer_weights=(1.0, 1.0, 1.0)),
    "gan": lambda s: losses.generator_hinge(s.discriminator(s.frame)),
    "feature_matching": lambda s: losses.feature_matching(s.discriminator(s.target), s.discriminator(s.frame)),
    "equivariance": lambda s: losses.equivariance_loss(s.points, s.twisted_points, s.twist),
    "keypoint_prior": lambda s: losses.keypoint_prior(s.points),
    "head_pose": lambda s: losses.head_pose_loss(s.driving, s.teacher),
    "deformation": lambda s: losses.deformation_prior(s.driving.expression),
}


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Smooth random source images and the same ones warped, (4, 3, 32, 32) each."""
    generator = torch.Generator().manual_seed(seed)
    source = F.interpolate(torch.rand(4, 3, 4, 4, generator=generator), (32, 32), mode="bilinear")
    return source, RandomTransform.sample(4, generator, sigma_affine=0.1).frame(source)


def test_the_named_losses_are_the_weighted_ones() -> None:
    assert float(losses.LossWeights().total({name: torch.tensor(0.0) for name in LOSSES})) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_loss_falls(name: str) -> None:
    torch.manual_seed(0)
    networks, discriminator = PaperNetworks(TINY).train(), Discriminator(TINY.discriminator).eval()
    discriminator.requires_grad_(False)
    source_image, driving_image = batch(1)
    twist = RandomTransform.sample(4, torch.Generator().manual_seed(2))
    twisted_image = twist.frame(driving_image)
    yaw = torch.tensor([20.0, -15.0, 5.0, 30.0])
    teacher = Motion(yaw, -yaw / 2, yaw / 3, torch.zeros(4, 3), torch.ones(4), torch.zeros(4, 4, 3))
    optimiser = torch.optim.Adam(networks.parameters(), 1e-3, betas=(0.5, 0.999))
    history = []
    for _ in range(10):
        canonical, source = networks.canonical(source_image), networks.motion(source_image)
        driving = networks.motion(driving_image)
        step = Step(
            networks.synthesise(networks.appearance(source_image, canonical, source), canonical, source, driving).frame,
            driving_image,
            compose(canonical, driving),
            compose(canonical, networks.motion(twisted_image)),
            twist,
            driving,
            teacher,
            discriminator,
        )
        value = LOSSES[name](step)
        history.append(float(value.detach()))
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert min(history[-2:]) < history[0], history


def test_discriminator_learns_the_difference() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(TINY.discriminator).train()
    real, fake = batch(3)[0], torch.rand(4, 3, 32, 32)
    optimiser = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.5, 0.999))
    history = []
    for _ in range(15):
        hinge = losses.discriminator_hinge(discriminator(real), discriminator(fake))
        history.append(float(hinge.detach()))
        optimiser.zero_grad()
        hinge.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert history[-1] < 0.9 * history[0], history
