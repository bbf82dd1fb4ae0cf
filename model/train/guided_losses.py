"""Losses of the guided objective, each weighted: keypoints, dense motion, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import CanonicalKeypoints, Motion, angles, compose, rotation_matrix
from model.networks.grid import pixel_grid
from model.networks.rendered import Rendered
from model.networks.small import SmallNetworks
from model.networks.small.blocks import resize_flow, warp
from model.networks.small_config import EYES, FREE, MOUTH
from model.train.correspondence import body_flow_error, landmark_flow_error, seen, turned
from model.train.data import Batch, attention_map
from model.train.objective import precision
from model.train.scene import J, Scene

Distance = Callable[[Tensor, Tensor], Tensor]
"""Perceptual distance of two pictures (B, 3, H, W) in [0, 1]: (B,)."""


@dataclass(frozen=True)
class Weights:
    """Weight of each loss. Position losses are in crop units, which are small: hence the large numbers."""

    perceptual: float = 3.0  # LPIPS of the whole picture
    face: float = 2.0  # LPIPS of the face alone, enlarged
    pixel: float = 2.0  # L1
    attention: float = 3.0  # L1 around eyes and mouth
    flicker: float = 3.0  # L1 of how pictures change between neighbours in time, where there are pairs of them
    keypoint: float = 5.0  # composed guided keypoints against the teacher's
    shift: float = 80.0  # how far they are from the source frame's, against the teacher's
    expression: float = 300.0  # expression deformation against the teacher's: hundredths of a unit, drowned by pose
    expression_level: float = 0.3  # of that, how much its level counts beside its change since the source frame
    canonical: float = 20.0  # canonical keypoints against the teacher's
    pose: float = 0.4  # yaw, pitch, roll (10 degrees = 1), size, place
    free: float = 0.2  # deformation prior of the free keypoints (L1)
    kept: float = 10.0  # free keypoints where earlier weights have them, in place and before a turn of the head (L1)
    body: float = 10.0  # change of the body's keypoints against optical flow around them
    body_level: float = 0.3  # how far they drift from where they began (L1)
    gan: float = 0.03  # hinge, with a discriminator
    feature_matching: float = 0.3
    warp: float = 0.5  # L1 of the warped source pixels, so that the flow learns even where the painting could do it
    landmark_flow: float = 5.0  # where dense motion takes all landmarks from, in the driving frame
    view_flow: float = 5.0  # the same, seen from a random free view
    optical_flow: float = 5.0  # dense motion against optical flow, where that can be trusted


def keypoint_losses(
    batch: Batch, canonical: Tensor, predicted: Motion, composed: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """Keypoints of the head against the teacher's.

    canonical  (G, K, 3)
    predicted  (G, 1 + N)
    composed   (G, 1 + N, K, 3) of these two, in the picture
    """
    teacher = batch.motion
    important = torch.ones(J, device=canonical.device)
    important[list(MOUTH)] = 4.0
    important[list(EYES)] = 8.0  # lids move by a hundredth
    important = (important / important.mean())[:, None]
    axes = torch.tensor([1.0, 1.0, 0.3], device=canonical.device)  # the teacher's depth is a guess
    pose = sum(
        (getattr(predicted, name) - getattr(teacher, name)).abs().mean() / 10 for name in ("yaw", "pitch", "roll")
    )
    pose = pose + 5 * (predicted.scale.log() - teacher.scale.log()).abs().mean()
    pose = pose + 10 * (predicted.translation - teacher.translation).abs().mean()
    deformation = predicted.expression[..., :J, :] - teacher.expression

    def cost(gap: Tensor) -> Tensor:
        # Beyond L1, whose best guess for a mouth that is mostly shut is shut, an open mouth counts by its square.
        return ((gap.abs() + 25 * gap**2) * axes * important).mean()

    # What moves a picture is the change since the source frame; a face's own level could as well be canonical.
    change = cost(deformation[:, 1:] - deformation[:, :1]) + weights.expression_level * cost(deformation)
    error = composed[..., :J, :] - batch.points
    # What moves a picture is how far keypoints have come since the source frame: an error that stays moves nothing.
    shift = (error[:, 1:] - error[:, :1])[..., :2]
    return {
        "keypoint": weights.keypoint * (error.abs() * axes * important).mean(),
        "shift": weights.shift * shift.abs().mean(),
        "expression": weights.expression * change,
        "canonical": weights.canonical * ((canonical[:, :J] - batch.canonical).abs() * axes).mean(),
        "pose": weights.pose * pose,
        "free": weights.free * predicted.expression[..., J : J + len(FREE), :].abs().mean(),
    }


def kept_error(kept: tuple[CanonicalKeypoints, Motion], found: tuple[CanonicalKeypoints, Motion]) -> Tensor:
    """How far free keypoints have gone from where earlier weights have them, (): in the picture, and canonically.

    Both as `find_keypoints` returns them.
    """
    free = slice(J, J + len(FREE))
    places = [compose(CanonicalKeypoints(canonical.points[:, None]), motion) for canonical, motion in (kept, found)]
    gone: Tensor = (places[0] - places[1])[..., free, :].abs().mean()
    canonically: Tensor = (kept[0].points - found[0].points)[:, free].abs().mean()
    return gone + canonically


def body_losses(networks: SmallNetworks, batch: Batch, composed: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Keypoints of the body: their change is what optical flow around them says, their place is near the mean.

    composed  (G, 1 + N, K, 3) all keypoints in the picture
    """
    n = batch.frames.shape[1] - 1
    body = composed[..., networks.config.layout.body, :2]  # (G, 1 + N, B, 2)
    parts = {"body_level": weights.body_level * (body - networks.motion_extractor.body_mean).abs().mean()}
    if batch.flow is not None:
        label, trusted = (x[:, 2::4, 2::4] for x in batch.flow)
        pairs = torch.stack([body[:, :1].expand(-1, n, -1, -1).flatten(0, 1), body[:, 1:].flatten(0, 1)], 1)
        chin = batch.mesh[:, 1:, :, 1].amax(-1).flatten()
        error = body_flow_error(pairs, label, trusted, chin, batch.filmed.repeat_interleave(n, 0))
        parts["body"] = weights.body * error
    return parts


def flow_losses(
    networks: SmallNetworks,
    scene: Scene,
    batch: Batch,
    weights: Weights,
    view: tuple[float, float],
    seed: int,
) -> dict[str, Tensor]:
    """Dense motion against pixels, landmarks and optical flow of filmed frames, and against turned landmarks.

    Photos count in the last alone: `Scene` gives dense motion no gradient of the others.
    """
    n = batch.frames.shape[1] - 1
    filmed = batch.filmed.repeat_interleave(n, 0)  # (G * N,)
    full = resize_flow(scene.motion.flow, 4)  # (G * N, S, S, 2)
    pose = batch.motion.map(lambda x: x[:, 1:].flatten(0, 1))
    start, end = batch.mesh[:, :1].expand(-1, n, -1, -1).flatten(0, 1), batch.mesh[:, 1:].flatten(0, 1)
    still = batch.motion[:, 0]
    there = seen(batch.mesh[:, 0], still.yaw, still.pitch, still.roll)  # (G, 478)
    both = torch.minimum(there.repeat_interleave(n, 0), seen(end, pose.yaw, pose.pitch, pose.roll))
    warped = (warp(scene.source, full) - scene.target).abs().mean((1, 2, 3))
    parts = {
        "warp": weights.warp * _mean_of(warped, filmed),
        "landmark_flow": weights.landmark_flow * landmark_flow_error(full, end, start, both * filmed[:, None]),
    }
    if batch.flow is not None:
        label, trusted = batch.flow
        trusted = trusted & filmed[:, None, None]
        gap = (full - label).abs().sum(-1).clamp(max=0.3)
        parts["optical_flow"] = weights.optical_flow * (gap * trusted).sum() / trusted.sum().clamp(min=1)

    # Free views have no picture to be compared with, but landmarks turn as geometry says.
    turn = _random_turns(len(there), view, seed).to(full.device)  # (G, 3, 3)
    rotated = turned(batch.mesh[:, 0], still.translation, turn)
    shown = torch.minimum(there, seen(batch.mesh[:, 0], *angles(turn @ _rotation(still))))
    source = scene.driven[:, 0]
    yaw, pitch, roll = angles(turn @ _rotation(source))
    viewed = replace(source, yaw=yaw, pitch=pitch, roll=roll)
    with precision(full.device):
        motion = networks.dense_motion(scene.features, CanonicalKeypoints(scene.points), source, viewed)
    error = landmark_flow_error(resize_flow(motion.flow, 4), rotated, batch.mesh[:, 0], shown)
    return parts | {"view_flow": weights.view_flow * error}


def picture_losses(
    rendered: Rendered, batch: Batch, perceptual: Distance, weights: Weights, seed: int
) -> dict[str, Tensor]:
    """Pictures against the frames; of photos the face alone, since hair and background were bent with it."""
    frame, target = rendered.frame, batch.frames[:, 1:].flatten(0, 1)
    filmed = batch.filmed.repeat_interleave(batch.frames.shape[1] - 1, 0)
    difference = frame - target
    error = difference.abs()
    points = batch.points[:, 1:].flatten(0, 1)
    attention = attention_map(points, frame.shape[-1] // 4)
    attention = F.interpolate(attention, size=frame.shape[-2:], mode="bilinear", align_corners=False)
    parts = {
        "pixel": weights.pixel * _mean_of(error.mean((1, 2, 3)), filmed),
        "attention": weights.attention * (error * attention).sum() / (3 * attention.sum()).clamp(min=1.0),
        "perceptual": weights.perceptual * _mean_of(perceptual(_window(frame, seed), _window(target, seed)), filmed),
    }
    if batch.paired:
        parts["flicker"] = weights.flicker * _mean_of(error_change(difference).abs().mean((1, 2, 3)), filmed[::2])
    if weights.face:
        boxes = face_grid(points, 144)
        parts["face"] = weights.face * perceptual(warp(frame, boxes), warp(target, boxes)).mean()
    return parts


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of those values (B,) that are chosen (B,); 0 of none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def error_change(error: Tensor) -> Tensor:
    """By how much the error of the second of each pair differs from the first's: (B / 2, ...) of (B, ...)."""
    return error[1::2] - error[::2]


def _random_turns(count: int, most: tuple[float, float], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    yaw, pitch = ((torch.rand(count, generator=generator) * 2 - 1) * bound for bound in most)
    turns: Tensor = rotation_matrix(yaw, pitch, torch.zeros(count))
    return turns


def _rotation(motion: Motion) -> Tensor:
    rotation: Tensor = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    return rotation


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
