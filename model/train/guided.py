"""What the small profile is trained for: the picture, and keypoints that a landmark teacher guides.

Three phases. Keypoints alone, on many people at once; optical flow guides those of the body. Then dense motion alone,
against correspondences of landmarks and of optical flow, without the cost of a picture. Then pictures: the teacher's
keypoints drive the renderer first and fade out (`teacher_share`), so that it sees meaningful motion from its first
step; at last all trains through the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, angles, compose, rotation_matrix, turned_and_sized
from model.networks.grid import pixel_grid
from model.networks.rendered import Rendered
from model.networks.small import SmallNetworks
from model.networks.small.alignment import Key, align, off_by, thumbnails
from model.networks.small.blocks import resize_flow, warp
from model.networks.small.dense_motion import DenseMotion
from model.profiles.small import EYES, FREE, GUIDED, MOUTH
from model.train.adversary import Adversary
from model.train.correspondence import body_flow_error, landmark_flow_error, seen, turned
from model.train.data import STILL_SHARE, Batch, attention_map
from model.train.degrade import degraded
from model.train.objective import BatchShape, Outcome, cosine, precision, ramp

Distance = Callable[[Tensor, Tensor], Tensor]
"""Perceptual distance of two pictures (B, 3, H, W) in [0, 1]: (B,)."""

FlowLabels = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Optical flow from driving to source pictures and where it can be trusted: `correspondence.optical_flow`."""

J = len(GUIDED)

_UNALIGNED = 0.15
"""Share of groups whose keypoints stay where the extractor has them."""


@dataclass(frozen=True)
class Weights:
    """Weight of each loss. Position losses are in crop units, which are small: hence the large numbers."""

    perceptual: float = 3.0  # LPIPS of the whole picture
    face: float = 2.0  # LPIPS of the face alone, enlarged
    pixel: float = 2.0  # L1
    attention: float = 3.0  # L1 around eyes and mouth
    keypoint: float = 5.0  # composed guided keypoints against the teacher's
    shift: float = 80.0  # how far they are from the source frame's, against the teacher's
    expression: float = 300.0  # expression deformation against the teacher's: hundredths of a unit, drowned by pose
    expression_level: float = 0.3  # of that, how much its level counts beside its change since the source frame
    canonical: float = 20.0  # canonical keypoints against the teacher's
    pose: float = 0.4  # yaw, pitch, roll (10 degrees = 1), size, place
    free: float = 0.2  # deformation prior of the free keypoints (L1)
    body: float = 10.0  # change of the body's keypoints against optical flow around them
    body_level: float = 0.3  # how far they drift from where they began (L1)
    gan: float = 0.03  # hinge, with a discriminator
    feature_matching: float = 0.3
    warp: float = 0.5  # L1 of the warped source pixels, so that the flow learns even where the painting could do it
    landmark_flow: float = 5.0  # where dense motion takes all landmarks from, in the driving frame
    view_flow: float = 5.0  # the same, seen from a random free view
    optical_flow: float = 5.0  # dense motion against optical flow, where that can be trusted


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
    settled: bool = False  # appearance features keep the normalisation of the weights that training began with
    teacher: tuple[int, int] = (200, 1500)  # steps of pictures between which the teacher fades out
    adversary_from: float = 0.6  # share of the budget after which a discriminator, where there is one, joins
    weights: Weights = Weights()


class GuidedObjective:
    """First keypoints, then dense motion, then pictures, at last with a discriminator."""

    def __init__(
        self,
        networks: SmallNetworks,
        perceptual: Distance,
        config: GuidedConfig = GuidedConfig(),
        adversary: Adversary | None = None,
        flow_labels: FlowLabels | None = None,
    ) -> None:
        """Without `flow_labels` dense motion learns from landmarks and pictures alone."""
        self._networks, self._perceptual, self._config, self._adversary = networks, perceptual, config, adversary
        self._flow_labels = flow_labels

    def shape(self, step: int) -> BatchShape:
        config = self._config
        if step < config.keypoint_steps:
            return BatchShape(config.keypoint_groups, config.keypoint_driving, STILL_SHARE)
        # A photo is moved by one smooth warp, which would teach that hair, shoulders and background bend with the face.
        groups = config.flow_groups if step < config.keypoint_steps + config.flow_steps else config.groups
        return BatchShape(groups, config.driving, 0.0, understood=self._flow_labels is not None)

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
            return evaluate_keypoints(self._networks, batch, config.weights, seed)
        # A dozen frames of four people are too few to normalise by: keypoints would come out differently than in use.
        for network in (self._networks.motion_extractor, self._networks.canonical_detector):
            network.eval()
        if config.settled:
            self._networks.appearance_extractor.eval()
        pictures = step - config.keypoint_steps - config.flow_steps
        share = 1 - ramp(pictures, *config.teacher)
        scene = _Scene.of(self._networks, batch, config, share, seed)
        parts = scene.parts | _flow_losses(self._networks, scene, batch, config, seed)
        if pictures < 0:
            return Outcome(torch.stack(list(parts.values())).sum(), parts, scene.target)
        with precision(batch.frames.device):
            rendered = self._networks.generator(scene.repeated, scene.motion)
            parts |= _picture_losses(rendered, batch, self._perceptual, config.weights, seed)
        outcome = Outcome(torch.stack(list(parts.values())).sum(), parts, scene.target, rendered)
        if self._adversary is None or progress < config.adversary_from or outcome.rendered is None:
            return outcome
        weights = {"gan": config.weights.gan, "feature_matching": config.weights.feature_matching}
        with precision(batch.frames.device):
            judged = self._adversary.judge(outcome.rendered.frame, outcome.target)
        terms = {name: weights[name] * term for name, term in judged.items()}
        return replace(outcome, total=outcome.total + sum(terms.values()), parts=outcome.parts | terms)

    def finish(self, outcome: Outcome) -> None:
        if self._adversary and outcome.rendered is not None and "gan" in outcome.parts:
            with precision(outcome.target.device):
                self._adversary.learn(outcome.rendered.frame, outcome.target)

    def compile(self) -> None:
        networks = self._networks
        for network in (networks.appearance_extractor, networks.dense_motion, networks.generator, self._perceptual):
            if isinstance(network, nn.Module):
                network.compile(dynamic=False)  # free views are a smaller batch of their own

    def state_dict(self) -> dict[str, Any]:
        return self._adversary.state_dict() if self._adversary else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._adversary and state:
            self._adversary.load_state_dict(state)


def evaluate_keypoints(networks: SmallNetworks, batch: Batch, weights: Weights, seed: int = 0) -> Outcome:
    """Losses of canonical keypoints, pose and expression alone: a tenth of the cost of a picture."""
    shown = degraded(batch.frames.flatten(0, 1), seed).reshape(batch.frames.shape)
    canonical, predicted = _keypoints(networks, replace(batch, frames=shown))
    parts = _keypoint_losses(batch, canonical.points, predicted, weights)
    pairs = replace(batch, frames=batch.frames[:, :2], mesh=batch.mesh[:, :2])
    parts |= _body_losses(networks, pairs, canonical.points, _map(predicted, lambda x: x[:, :2]), weights)
    return Outcome(torch.stack(list(parts.values())).sum(), parts, batch.frames[:, 1:].flatten(0, 1))


def _keypoints(networks: SmallNetworks, batch: Batch) -> tuple[CanonicalKeypoints, Motion]:
    """Canonical keypoints (G, K, 3) of the sources and motion (G, 1 + N) of all frames."""
    groups, count = batch.frames.shape[:2]
    canonical = networks.canonical(_channels_last(batch.frames[:, 0]))
    motion = networks.motion(_channels_last(batch.frames.flatten(0, 1)))
    return canonical, _map(motion, lambda x: x.reshape(groups, count, *x.shape[1:]))


def _body_losses(
    networks: SmallNetworks,
    batch: Batch,
    canonical: Tensor,
    predicted: Motion,
    weights: Weights,
) -> dict[str, Tensor]:
    """Keypoints of the body: their change is what optical flow around them says, their place is near the mean."""
    n = batch.frames.shape[1] - 1
    count = networks.config.body
    body = compose(CanonicalKeypoints(canonical[:, None]), predicted)[..., -count:, :2]  # (G, 1 + N, B, 2)
    parts = {"body_level": weights.body_level * (body - networks.motion_extractor.body_mean).abs().mean()}
    if batch.flow is not None:
        label, trusted = (x[:, 2::4, 2::4] for x in batch.flow)
        pairs = torch.stack([body[:, :1].expand(-1, n, -1, -1).flatten(0, 1), body[:, 1:].flatten(0, 1)], 1)
        chin = batch.mesh[:, 1:, :, 1].amax(-1).flatten()
        error = body_flow_error(pairs, label, trusted, chin, batch.filmed.repeat_interleave(n, 0))
        parts["body"] = weights.body * error
    return parts


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class _Scene:
    """A batch as the renderer sees it: who drives it, and the dense motion that comes of it."""

    parts: dict[str, Tensor]  # keypoint losses
    features: dict[str, Tensor]  # of the G source images
    repeated: dict[str, Tensor]  # the same for each of the G * N driving frames
    points: Tensor  # (G, K, 3) canonical keypoints
    driven: Motion  # (G, 1 + N)
    motion: DenseMotion  # of the G * N driving frames
    source: Tensor  # (G * N, 3, S, S) source pictures
    target: Tensor  # (G * N, 3, S, S) driving frames

    @staticmethod
    def of(
        networks: SmallNetworks,
        batch: Batch,
        config: GuidedConfig,
        teacher_share: float,
        seed: int,
    ) -> _Scene:
        """`teacher_share` in [0, 1] is the share of groups that the teacher's keypoints drive."""
        groups, count = batch.frames.shape[:2]
        source_image = _channels_last(batch.frames[:, 0])
        with precision(source_image.device):
            features = networks.appearance(source_image)
        parts: dict[str, Tensor] = {}
        if config.fixed_keypoints:
            with torch.no_grad():
                canonical, predicted = _keypoints(networks, batch)
        else:
            canonical, predicted = _keypoints(networks, batch)
            parts = _keypoint_losses(batch, canonical.points, predicted, config.weights)
            parts |= _body_losses(networks, batch, canonical.points, predicted, config.weights)

        # Which groups the teacher drives is drawn per group, since source and driving motion must agree.
        generator = torch.Generator().manual_seed(seed)
        taught = (torch.rand(groups, generator=generator) < teacher_share).to(source_image.device)
        points, driven = _teach(taught, batch, canonical.points, predicted)

        def repeat(x: Tensor) -> Tensor:
            return x.repeat_interleave(count - 1, 0)

        repeated = {name: repeat(f) for name, f in features.items()}
        pairs = CanonicalKeypoints(repeat(points))
        still, moved = _map(driven, lambda x: repeat(x[:, 0])), _map(driven, lambda x: x[:, 1:].flatten(0, 1))
        target = batch.frames[:, 1:].flatten(0, 1)
        source = repeat(source_image)
        key = Key.of(pairs, still, thumbnails(source))
        off = align(networks.dense_motion, key, moved, thumbnails(target))
        # A picture that someone else drives has nothing to be aligned with.
        alone = (torch.rand(groups, generator=generator) < _UNALIGNED).to(off.device)
        off = torch.where(repeat(alone)[:, None, None], 0.0, off)
        moved = replace(moved, expression=off_by(moved.expression, off))
        with precision(source_image.device):
            motion = networks.dense_motion(repeated, pairs, still, moved)
        return _Scene(parts, features, repeated, points, driven, motion, source, target)


def _flow_losses(
    networks: SmallNetworks,
    scene: _Scene,
    batch: Batch,
    config: GuidedConfig,
    seed: int,
) -> dict[str, Tensor]:
    """Dense motion against pixels, landmarks and optical flow of filmed frames, and against turned landmarks."""
    weights, n = config.weights, batch.frames.shape[1] - 1
    full = resize_flow(scene.motion.flow, 4)  # (G * N, S, S, 2)
    pose = _map(batch.motion, lambda x: x[:, 1:].flatten(0, 1))
    start, end = batch.mesh[:, :1].expand(-1, n, -1, -1).flatten(0, 1), batch.mesh[:, 1:].flatten(0, 1)
    still = _map(batch.motion, lambda x: x[:, 0])
    there = seen(batch.mesh[:, 0], still.yaw, still.pitch, still.roll)  # (G, 478)
    both = torch.minimum(there.repeat_interleave(n, 0), seen(end, pose.yaw, pose.pitch, pose.roll))
    parts = {
        "warp": weights.warp * (warp(scene.source, full) - scene.target).abs().mean(),
        "landmark_flow": weights.landmark_flow * landmark_flow_error(full, end, start, both),
    }
    if batch.flow is not None:
        label, trusted = batch.flow
        gap = (full - label).abs().sum(-1).clamp(max=0.3)
        parts["optical_flow"] = weights.optical_flow * (gap * trusted).sum() / trusted.sum().clamp(min=1)

    # Free views have no picture to be held against, but landmarks turn as geometry says.
    turn = _random_turns(len(there), config.view, seed).to(full.device)  # (G, 3, 3)
    looked = turned(batch.mesh[:, 0], still.translation, turn)
    shown = torch.minimum(there, seen(batch.mesh[:, 0], *angles(turn @ _rotation(still))))
    source = _map(scene.driven, lambda x: x[:, 0])
    yaw, pitch, roll = angles(turn @ _rotation(source))
    view = replace(source, yaw=yaw, pitch=pitch, roll=roll)
    with precision(full.device):
        motion = networks.dense_motion(scene.features, CanonicalKeypoints(scene.points), source, view)
    error = landmark_flow_error(resize_flow(motion.flow, 4), looked, batch.mesh[:, 0], shown)
    return parts | {"view_flow": weights.view_flow * error}


def _random_turns(count: int, most: tuple[float, float], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    yaw, pitch = ((torch.rand(count, generator=generator) * 2 - 1) * bound for bound in most)
    turns: Tensor = rotation_matrix(yaw, pitch, torch.zeros(count))
    return turns


def _rotation(motion: Motion) -> Tensor:
    rotation: Tensor = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    return rotation


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

    def misses(gap: Tensor) -> Tensor:
        # Beyond L1, whose best guess for a mouth that is mostly shut is shut, an open mouth counts by its square.
        return ((gap.abs() + 25 * gap**2) * axes * important).mean()

    # What moves a picture is the change since the source frame; a face's own level could as well be canonical.
    change = misses(deformation[:, 1:] - deformation[:, :1]) + weights.expression_level * misses(deformation)
    missed = composed - batch.points
    # What moves a picture is how far keypoints have come since the source frame: an error that stays moves nothing.
    shift = (missed[:, 1:] - missed[:, :1])[..., :2]
    return {
        "keypoint": weights.keypoint * (missed.abs() * axes * important).mean(),
        "shift": weights.shift * shift.abs().mean(),
        "expression": weights.expression * change,
        "canonical": weights.canonical * ((canonical[:, :J] - batch.canonical).abs() * axes).mean(),
        "pose": weights.pose * pose,
        "free": weights.free * predicted.expression[..., J : J + len(FREE), :].abs().mean(),
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
    mixed["background"] = batch.motion.background  # measured, not extracted
    driven = Motion(**mixed)
    return points, replace(driven, expression=_with_body(driven, batch.body, points.shape[1] - J - len(FREE)))


def _with_body(driven: Motion, place: Tensor, count: int) -> Tensor:
    """Expression (G, 1 + N, K, 3) with the body's keypoints where the source's have gone, as far as that is known."""
    scale, shift = driven.scale[..., None, None], driven.translation[..., None, :2]
    said = driven.expression[..., -count:, :]
    known = place[..., None, None, 0].isfinite()
    place = place.nan_to_num()  # or its gradient would be none either
    at_source = (scale * said[..., :2] + shift)[:, :1]  # (G, 1, B, 2)
    size, roll = place[..., None, 2], place[..., None, 3]  # (G, 1 + N, 1)
    there = torch.stack(turned_and_sized(at_source[..., 0], at_source[..., 1], size, roll), -1) + place[..., None, :2]
    body = torch.where(known, (there - shift) / scale, said[..., :2])
    return torch.cat([driven.expression[..., :-count, :], torch.cat([body, said[..., 2:]], -1)], -2)


def _picture_losses(
    rendered: Rendered, batch: Batch, perceptual: Distance, weights: Weights, seed: int
) -> dict[str, Tensor]:
    frame, target = rendered.frame, batch.frames[:, 1:].flatten(0, 1)
    error = (frame - target).abs()
    points = batch.points[:, 1:].flatten(0, 1)
    attention = attention_map(points, frame.shape[-1] // 4)
    attention = F.interpolate(attention, size=frame.shape[-2:], mode="bilinear", align_corners=False)
    parts = {
        "pixel": weights.pixel * error.mean(),
        "attention": weights.attention * (error * attention).sum() / (3 * attention.sum()).clamp(min=1.0),
        "perceptual": weights.perceptual * perceptual(_window(frame, seed), _window(target, seed)).mean(),
    }
    if weights.face:
        boxes = face_grid(points, 144)
        parts["face"] = weights.face * perceptual(warp(frame, boxes), warp(target, boxes)).mean()
    return parts


def _window(pictures: Tensor, seed: int) -> Tensor:
    """A random square of three quarters of the side: LPIPS is half of a step's cost, and a mean over places."""
    size = pictures.shape[-1]
    side = size * 3 // 4
    x, y = torch.randint(0, size - side + 1, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
    return pictures[..., y : y + side, x : x + side]


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
