"""What the small profile is trained for: the picture, and keypoints that a landmark teacher guides.

Three phases. Keypoints alone, on many people at once; optical flow guides those of the body. Then dense motion alone,
against correspondences of landmarks and of optical flow, without the cost of a picture. Then pictures: the teacher's
keypoints drive the renderer first and fade out (`teacher_share`), so that it sees meaningful motion from its first
step; at last all trains through the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from model.errors import InputError
from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small import SmallNetworks
from model.train.adversary import Adversary
from model.train.data import STILL_SHARE, Batch
from model.train.degrade import degraded
from model.train.guided_losses import (
    Distance,
    Weights,
    body_losses,
    flow_losses,
    kept_error,
    keypoint_losses,
    picture_losses,
)
from model.train.objective import BatchShape, Outcome, cosine, precision, ramp
from model.train.occlude import occluded
from model.train.scene import Scene, find_keypoints

FlowLabels = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Optical flow from driving to source pictures and where it can be trusted: `correspondence.optical_flow`."""


@dataclass(frozen=True)
class GuidedConfig:
    """Schedule of the guided objective."""

    groups: int = 4  # source images a step
    driving: int = 2  # driving frames per source image
    rate: float = 4e-4  # learning rate
    keypoint_steps: int = 1200  # first steps, of keypoint losses alone: cheap, on many people at once
    keypoint_groups: int = 8  # people in each of those steps
    keypoint_driving: int = 3  # frames of each beside the source
    keypoint_rate: float = 1e-3  # their learning rate
    flow_steps: int = 1000  # then steps of dense motion alone
    flow_groups: int = 3  # source images in each of those steps
    view: tuple[float, float] = (35.0, 18.0)  # largest yaw and pitch of the random free views, degrees
    warmup: int = 100  # steps
    fixed_keypoints: bool = False  # whether only the first phase trains keypoints: on few people a step they get worse
    photos: float = 0.0  # share of the groups of pictures that are photos moved by a warp
    paired: bool = False  # whether driving frames of pictures are pairs of neighbours, whose difference counts too
    settled: bool = False  # appearance features keep the normalisation of the weights that training began with
    teacher: tuple[int, int] = (200, 1500)  # steps of pictures between which the teacher fades out
    adversary_from: float = 0.6  # share of the budget after which a discriminator, where there is one, joins
    weights: Weights = field(default_factory=Weights)


class GuidedObjective:
    """First keypoints, then dense motion, then pictures, at last with a discriminator."""

    def __init__(
        self,
        networks: SmallNetworks,
        perceptual: Distance,
        config: GuidedConfig = GuidedConfig(),
        adversary: Adversary | None = None,
        flow_labels: FlowLabels | None = None,
        kept: SmallNetworks | None = None,
    ) -> None:
        """Without `flow_labels` dense motion learns from landmarks and pictures alone.

        kept: networks by which the steps of keypoint losses alone keep the keypoints that nothing guides where they are

        Raises InputError when pairs are asked for and driving frames are an odd number.
        """
        if config.paired and config.driving % 2:
            raise InputError("driving frames in pairs must be an even number")
        self._networks, self._perceptual, self._config, self._adversary = networks, perceptual, config, adversary
        self._flow_labels = flow_labels
        self._kept = None if kept is None else kept.eval().requires_grad_(False)

    def shape(self, step: int) -> BatchShape:
        config = self._config
        if step < config.keypoint_steps:
            return BatchShape(config.keypoint_groups, config.keypoint_driving, STILL_SHARE)
        # A photo is moved by one smooth warp, which would teach dense motion that hair, shoulders and background bend
        # with the face: the others learn from it to paint more faces.
        pictures = step >= config.keypoint_steps + config.flow_steps
        groups = config.groups if pictures else config.flow_groups
        understood = self._flow_labels is not None
        photos = config.photos if pictures else 0.0
        return BatchShape(groups, config.driving, photos, understood, paired=config.paired and pictures)

    def label(self, batch: Batch, step: int) -> Batch:
        if self._flow_labels is None:
            return batch
        # Optical flow takes as long as the networks: of keypoints alone, one pair of each person is enough.
        n = 1 if step < self._config.keypoint_steps else batch.frames.shape[1] - 1
        source = batch.frames[:, 0].repeat_interleave(n, 0)
        flow, trusted = self._flow_labels(source, batch.frames[:, 1 : 1 + n].flatten(0, 1))
        return replace(batch, flow=(flow, trusted & batch.inside.repeat_interleave(n, 0)))

    def rate(self, step: int, progress: float) -> float:
        config = self._config
        if step < config.keypoint_steps:
            rate = config.keypoint_rate * cosine(step / config.keypoint_steps, final=0.05)
        else:
            rate = config.rate * cosine(progress)
        return rate * min(1.0, (step + 1) / config.warmup)

    def evaluate(self, batch: Batch, step: int, progress: float, seed: int) -> Outcome:
        config = self._config
        if step < config.keypoint_steps:
            return self._evaluate_keypoints(batch, seed)
        # A dozen frames of four people are too few to normalise by: keypoints would come out differently than in use.
        networks = self._networks
        for network in (networks.motion_extractor, networks.canonical_detector, networks.silhouette):
            network.eval()
        if config.settled:
            self._networks.appearance_extractor.eval()
        pictures = step - config.keypoint_steps - config.flow_steps
        share = 1 - ramp(pictures, *config.teacher)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.fixed_keypoints):
            canonical, predicted = find_keypoints(self._networks, batch)
        parts = {} if config.fixed_keypoints else self._keypoint_losses(batch, batch, canonical, predicted)
        scene = Scene.of(self._networks, batch, canonical, predicted, share, seed)
        parts |= flow_losses(self._networks, scene, batch, config.weights, config.view, seed)
        if pictures < 0:
            return Outcome(torch.stack(list(parts.values())).sum(), parts, scene.target)
        with precision(batch.frames.device):
            rendered = self._networks.generator(scene.repeated, scene.motion)
            parts |= picture_losses(rendered, batch, self._perceptual, config.weights, seed)
        outcome = Outcome(torch.stack(list(parts.values())).sum(), parts, scene.target, rendered)
        if self._adversary is None or progress < config.adversary_from or outcome.rendered is None:
            return outcome
        weights = {"gan": config.weights.gan, "feature_matching": config.weights.feature_matching}
        with precision(batch.frames.device):
            judged = self._adversary.judge(outcome.rendered.frame, outcome.target)
        terms = {name: weights[name] * term for name, term in judged.items()}
        return replace(outcome, total=outcome.total + sum(terms.values()), parts=outcome.parts | terms)

    def _evaluate_keypoints(self, batch: Batch, seed: int) -> Outcome:
        """Losses of canonical keypoints, pose and expression alone: a tenth of the cost of a picture."""
        frames = occluded(batch.frames.flatten(0, 1), batch.points.flatten(0, 1), seed)
        shown = degraded(frames, seed).reshape(batch.frames.shape)
        canonical, predicted = find_keypoints(self._networks, replace(batch, frames=shown))
        pairs = replace(batch, frames=batch.frames[:, :2], mesh=batch.mesh[:, :2])  # of which there is optical flow
        parts = self._keypoint_losses(batch, pairs, canonical, predicted)
        if self._kept is not None:
            weight = self._config.weights.kept
            parts["kept"] = weight * kept_error(find_keypoints(self._kept, batch), (canonical, predicted))
        return Outcome(torch.stack(list(parts.values())).sum(), parts, batch.frames[:, 1:].flatten(0, 1))

    def _keypoint_losses(
        self, batch: Batch, pairs: Batch, canonical: CanonicalKeypoints, predicted: Motion
    ) -> dict[str, Tensor]:
        """Those of a batch, and of the body those of `pairs`, its first frames."""
        weights, count = self._config.weights, pairs.frames.shape[1]
        composed = compose(CanonicalKeypoints(canonical.points[:, None]), predicted)  # (G, 1 + N, K, 3)
        parts = keypoint_losses(batch, canonical.points, predicted, composed, weights)
        return parts | body_losses(self._networks, pairs, composed[:, :count], weights)

    def finish(self, outcome: Outcome) -> None:
        if self._adversary and outcome.rendered is not None and "gan" in outcome.parts:
            with precision(outcome.target.device):
                self._adversary.learn(outcome.rendered.frame, outcome.target)

    def state_dict(self) -> dict[str, Any]:
        return self._adversary.state_dict() if self._adversary else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._adversary and state:
            self._adversary.load_state_dict(state)
