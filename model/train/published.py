"""The six losses of face-vid2vid with the paper's weights, for the networks of any profile (arXiv 2011.15126, 3.3).

Keypoints are found without any landmark: head pose alone has a teacher. Adam 2e-4 with betas (0.5, 0.999).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from model.motion import CanonicalKeypoints, Motion, compose, relative_jacobians
from model.talking_head import Networks
from model.train.adversary import Adversary
from model.train.data import STILL_SHARE, Batch
from model.train.losses import (
    Features,
    LossWeights,
    deformation_prior,
    equivariance_loss,
    head_pose_loss,
    jacobian_equivariance_loss,
    keypoint_prior,
    perceptual_loss,
)
from model.train.objective import BatchShape, Outcome, cosine, precision
from model.train.transform import RandomTransform


@dataclass(frozen=True)
class PublishedConfig:
    """Schedule of the published objective."""

    groups: int = 4  # source images a step
    rate: float = 2e-4
    weights: LossWeights = field(default_factory=LossWeights)
    adversary_from: float = 0.0  # share of the budget after which the discriminator joins


class PublishedObjective:
    """One driving frame per source frame, as in the paper."""

    def __init__(
        self, networks: Networks, features: Features, adversary: Adversary, config: PublishedConfig = PublishedConfig()
    ) -> None:
        self._networks, self._features, self._adversary, self._config = networks, features, adversary, config

    def shape(self, step: int) -> BatchShape:
        return BatchShape(self._config.groups, 1, STILL_SHARE)

    def label(self, batch: Batch, step: int) -> Batch:
        return batch

    def rate(self, step: int, progress: float) -> float:
        return self._config.rate * cosine(progress)

    def evaluate(self, batch: Batch, step: int, progress: float, seed: int) -> Outcome:
        with precision(batch.frames.device):
            return self._evaluate(batch, progress, seed)

    def _evaluate(self, batch: Batch, progress: float, seed: int) -> Outcome:
        networks, config = self._networks, self._config
        source, target = batch.frames[:, 0], batch.frames[:, 1]
        transform = RandomTransform.sample(len(target), torch.Generator().manual_seed(seed), target.device)
        bent = transform.frame(target)

        canonical = networks.canonical(source)
        motion, driving, bent_motion = networks.motion(source), networks.motion(target), networks.motion(bent)
        rendered = networks.synthesise(networks.appearance(source, canonical, motion), canonical, motion, driving)
        points, bent_points = compose(canonical, driving), compose(canonical, bent_motion)

        terms = {
            "perceptual": perceptual_loss(rendered.frame, target, self._features),
            "equivariance": equivariance_loss(points, bent_points, transform),
            "keypoint_prior": keypoint_prior(points),
            "head_pose": head_pose_loss(driving, _driving_pose(batch)),
            "deformation": deformation_prior(driving.expression),
        }
        if canonical.jacobians is not None:
            local = relative_jacobians(canonical, driving)
            bent_local = relative_jacobians(CanonicalKeypoints(canonical.points, canonical.jacobians), bent_motion)
            extra = jacobian_equivariance_loss(local, bent_local, bent_points, transform)
            terms["equivariance"] = terms["equivariance"] + extra
        if progress >= config.adversary_from:
            terms |= self._adversary.judge(rendered.frame, target)
        return Outcome(config.weights.total(terms), terms, target, rendered)

    def finish(self, outcome: Outcome) -> None:
        if outcome.rendered is not None and "gan" in outcome.parts:
            with precision(outcome.target.device):
                self._adversary.learn(outcome.rendered.frame, outcome.target)

    def state_dict(self) -> dict[str, Any]:
        return self._adversary.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adversary.load_state_dict(state)


def _driving_pose(batch: Batch) -> Motion:
    return batch.motion[:, 1]
