"""What the small profile is trained for: the picture, and keypoints that a landmark teacher guides.

The teacher's keypoints drive the renderer first and fade out (`teacher_share`), so that the renderer sees meaningful
motion from its first step and the extractor learns positions in minutes; then both train through the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.rendered import Rendered
from model.networks.small import SmallNetworks
from model.networks.small.blocks import warp
from model.profiles.small import EYES, GUIDED, MOUTH
from model.train.adversary import Adversary
from model.train.data import Batch, attention_map
from model.train.objective import Outcome, cosine, ramp

Distance = Callable[[Tensor, Tensor], Tensor]
"""Perceptual distance of two pictures (B, 3, H, W) in [0, 1]: (B,)."""

J = len(GUIDED)


@dataclass(frozen=True)
class Weights:
    """Weight of each loss. Position losses are in crop units, which are small: hence the large numbers."""

    perceptual: float = 1.0  # LPIPS of the whole picture
    face: float = 1.0  # LPIPS of the face alone, enlarged
    pixel: float = 2.0  # L1
    attention: float = 3.0  # L1 around eyes and mouth
    keypoint: float = 10.0  # composed guided keypoints against the teacher's
    expression: float = 300.0  # expression deformation against the teacher's: hundredths of a unit, drowned by pose
    canonical: float = 20.0  # canonical keypoints against the teacher's
    pose: float = 0.4  # yaw, pitch, roll (10 degrees = 1), size, place
    free: float = 2.0  # deformation prior of the free keypoints (L1)
    gan: float = 0.03  # hinge, with a discriminator
    feature_matching: float = 0.3
    warp: float = 0.5  # L1 of the warped source pixels, so that the flow learns even where the painting could do it


@dataclass(frozen=True)
class GuidedConfig:
    """Schedule of the guided objective."""

    groups: int = 4  # source images a step
    driving: int = 2  # driving frames per source image
    rate: float = 4e-4  # learning rate
    keypoint_steps: int = 1200  # first steps, of keypoint losses alone: cheap, on many people at once
    keypoint_groups: int = 16  # people in each of those steps, two frames of each
    keypoint_rate: float = 1e-3  # their learning rate
    warmup: int = 100  # steps
    teacher: tuple[int, int] = (200, 1500)  # steps of picture losses between which the teacher fades out
    adversary_from: float = 0.6  # share of the budget after which a discriminator, where there is one, joins
    weights: Weights = Weights()


class GuidedObjective:
    """First keypoints alone, then pictures, at first of the teacher's keypoints, at last with a discriminator."""

    def __init__(
        self,
        networks: SmallNetworks,
        perceptual: Distance,
        config: GuidedConfig = GuidedConfig(),
        adversary: Adversary | None = None,
    ) -> None:
        self._networks, self._perceptual, self._config, self._adversary = networks, perceptual, config, adversary

    def shape(self, step: int) -> tuple[int, int]:
        config = self._config
        return (config.keypoint_groups, 1) if step < config.keypoint_steps else (config.groups, config.driving)

    def rate(self, step: int, progress: float) -> float:
        config = self._config
        rate = config.keypoint_rate if step < config.keypoint_steps else config.rate * cosine(progress)
        return rate * min(1.0, (step + 1) / config.warmup)

    def evaluate(self, batch: Batch, step: int, progress: float, seed: int) -> Outcome:
        config = self._config
        if step < config.keypoint_steps:
            return evaluate_keypoints(self._networks, batch, config.weights)
        # A dozen frames of four people are too few to normalise by: keypoints would come out differently than in use.
        for network in (self._networks.motion_extractor, self._networks.canonical_detector):
            network.eval()
        share = 1 - ramp(step - config.keypoint_steps, *config.teacher)
        outcome = evaluate(self._networks, batch, self._perceptual, config.weights, share, seed)
        if self._adversary is None or progress < config.adversary_from or outcome.rendered is None:
            return outcome
        weights = {"gan": config.weights.gan, "feature_matching": config.weights.feature_matching}
        judged = self._adversary.judge(outcome.rendered.frame, outcome.target)
        terms = {name: weights[name] * term for name, term in judged.items()}
        return replace(outcome, total=outcome.total + sum(terms.values()), parts=outcome.parts | terms)

    def finish(self, outcome: Outcome) -> None:
        if self._adversary and outcome.rendered is not None and "gan" in outcome.parts:
            self._adversary.learn(outcome.rendered.frame, outcome.target)

    def state_dict(self) -> dict[str, Any]:
        return self._adversary.state_dict() if self._adversary else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._adversary and state:
            self._adversary.load_state_dict(state)


def evaluate_keypoints(networks: SmallNetworks, batch: Batch, weights: Weights) -> Outcome:
    """Losses of canonical keypoints, pose and expression alone: a tenth of the cost of a picture."""
    canonical, predicted = _keypoints(networks, batch)
    parts = _keypoint_losses(batch, canonical.points, predicted, weights)
    return Outcome(torch.stack(list(parts.values())).sum(), parts, batch.frames[:, 1:].flatten(0, 1))


def _keypoints(networks: SmallNetworks, batch: Batch) -> tuple[CanonicalKeypoints, Motion]:
    """Canonical keypoints (G, K, 3) of the sources and motion (G, 1 + N) of all frames."""
    groups, count = batch.frames.shape[:2]
    canonical = networks.canonical(_channels_last(batch.frames[:, 0]))
    motion = networks.motion(_channels_last(batch.frames.flatten(0, 1)))
    return canonical, _map(motion, lambda x: x.reshape(groups, count, *x.shape[1:]))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def evaluate(
    networks: SmallNetworks, batch: Batch, perceptual: Distance, weights: Weights, teacher_share: float, seed: int
) -> Outcome:
    """Losses of one batch; `teacher_share` in [0, 1] is the share of frames that the teacher's keypoints drive."""
    groups, count = batch.frames.shape[:2]
    source_image = _channels_last(batch.frames[:, 0])
    features = networks.appearance(source_image)
    canonical, predicted = _keypoints(networks, batch)
    parts = _keypoint_losses(batch, canonical.points, predicted, weights)

    # Which groups the teacher drives is drawn per group, since source and driving motion must agree.
    generator = torch.Generator().manual_seed(seed)
    taught = (torch.rand(groups, generator=generator) < teacher_share).to(source_image.device)
    points, driven = _teach(taught, batch, canonical.points, predicted)

    n = count - 1

    def repeat(x: Tensor) -> Tensor:
        return x.repeat_interleave(n, 0)

    rendered = networks.synthesise(
        {name: repeat(f) for name, f in features.items()},
        CanonicalKeypoints(repeat(points)),
        _map(driven, lambda x: repeat(x[:, 0])),
        _map(driven, lambda x: x[:, 1:].flatten(0, 1)),
    )
    target = batch.frames[:, 1:].flatten(0, 1)
    parts |= _picture_losses(rendered, target, batch, perceptual, weights, repeat(source_image))
    total = torch.stack(list(parts.values())).sum()
    return Outcome(total, parts, target, rendered)


def _keypoint_losses(batch: Batch, canonical: Tensor, predicted: Motion, weights: Weights) -> dict[str, Tensor]:
    teacher = batch.motion
    important = torch.ones(J, device=canonical.device)
    important[list(MOUTH)] = 4.0
    important[list(EYES)] = 8.0  # lids move by a hundredth
    important = (important / important.mean())[:, None]
    composed = compose(CanonicalKeypoints(canonical[:, None]), predicted)[..., :J, :]
    axes = torch.tensor([1.0, 1.0, 0.3], device=canonical.device)  # the teacher's depth is a guess
    pose = sum(
        (getattr(predicted, name) - getattr(teacher, name)).abs().mean() / 10 for name in ("yaw", "pitch", "roll")
    )
    pose = pose + 5 * (predicted.scale.log() - teacher.scale.log()).abs().mean()
    pose = pose + 10 * (predicted.translation - teacher.translation).abs().mean()
    deformation = predicted.expression[..., :J, :] - teacher.expression
    return {
        "keypoint": weights.keypoint * ((composed - batch.points).abs() * axes * important).mean(),
        # Beyond L1, whose best guess for a mouth that is mostly shut is shut, an open mouth counts by its square.
        "expression": weights.expression * ((deformation.abs() + 25 * deformation**2) * axes * important).mean(),
        "canonical": weights.canonical * ((canonical[:, :J] - batch.canonical).abs() * axes).mean(),
        "pose": weights.pose * pose,
        "free": weights.free * predicted.expression[..., J:, :].abs().mean(),
    }


def _teach(taught: Tensor, batch: Batch, canonical: Tensor, predicted: Motion) -> tuple[Tensor, Motion]:
    """Canonical keypoints (G, K, 3) and motion (G, 1 + N), the teacher's in the groups where `taught` (G,) is true."""
    points = torch.cat([torch.where(taught[:, None, None], batch.canonical, canonical[:, :J]), canonical[:, J:]], 1)
    mixed = {}
    for field in fields(Motion):
        mine, theirs = getattr(predicted, field.name), getattr(batch.motion, field.name)
        if field.name == "expression":
            theirs = torch.cat([theirs, mine[..., J:, :]], -2)
        mixed[field.name] = torch.where(taught.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)
    return points, Motion(**mixed)


def _picture_losses(
    rendered: Rendered, target: Tensor, batch: Batch, perceptual: Distance, weights: Weights, source: Tensor
) -> dict[str, Tensor]:
    frame = rendered.frame
    error = (frame - target).abs()
    points = batch.points[:, 1:].flatten(0, 1)
    attention = attention_map(points, frame.shape[-1] // 4)
    attention = F.interpolate(attention, size=frame.shape[-2:], mode="bilinear", align_corners=False)
    parts = {
        "pixel": weights.pixel * error.mean(),
        "attention": weights.attention * (error * attention).sum() / (3 * attention.sum()).clamp(min=1.0),
        "perceptual": weights.perceptual * perceptual(frame, target).mean(),
    }
    if weights.face:
        boxes = face_grid(points, 144)
        parts["face"] = weights.face * perceptual(warp(frame, boxes), warp(target, boxes)).mean()
    if weights.warp and rendered.flow is not None:
        parts["warp"] = weights.warp * (warp(source, rendered.flow) - target).abs().mean()
    return parts


def face_grid(points: Tensor, size: int) -> Tensor:
    """Sampling grid (B, size, size, 2) of the square around eyes and mouth of guided keypoints (B, J, 3)."""
    chosen = points[:, list(EYES + MOUTH), :2]
    low, high = chosen.amin(1), chosen.amax(1)
    centre = (low + high) / 2
    half = (high - low).amax(1) / 2 * 1.25
    grid = pixel_grid(size, size, points)
    return centre[:, None, None] + grid * half[:, None, None, None]


def _map(motion: Motion, change: Callable[[Tensor], Tensor]) -> Motion:
    return Motion(*(change(getattr(motion, field.name)) for field in fields(Motion)))
