"""A batch as the renderer sees it: keypoints found, taught by the landmark teacher, aligned to the source image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion, turned_and_sized
from model.networks.small import SmallNetworks
from model.networks.small.dense_motion import DenseMotion
from model.networks.small_config import GUIDED
from model.registration.keypoint_tracker import FILE
from model.registration.keypoints import Alignment, AlignmentReference, align, thumbnails
from model.train.data import Batch
from model.train.objective import precision

J = len(GUIDED)

_UNALIGNED = 0.15
"""Share of groups whose keypoints stay where the extractor has them."""


def find_keypoints(networks: SmallNetworks, batch: Batch) -> tuple[CanonicalKeypoints, Motion]:
    """Canonical keypoints (G, K, 3) of the sources and motion (G, 1 + N) of all frames."""
    groups, count = batch.frames.shape[:2]
    canonical = networks.canonical(_channels_last(batch.frames[:, 0]))
    motion = networks.motion(_channels_last(batch.frames.flatten(0, 1)))
    return canonical, motion.map(lambda x: x.reshape(groups, count, *x.shape[1:]))


@dataclass(frozen=True)
class Scene:
    """A batch as the renderer sees it: who drives it, and the dense motion that comes of it."""

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
        canonical: CanonicalKeypoints,
        predicted: Motion,
        teacher_share: float,
        seed: int,
    ) -> Scene:
        """Keypoints as `find_keypoints` returns them; the teacher's drive `teacher_share` in [0, 1] of the groups."""
        groups, count = batch.frames.shape[:2]
        source_image = _channels_last(batch.frames[:, 0])
        with precision(source_image.device):
            features = networks.appearance(source_image, canonical, predicted[:, 0])
        # Which groups the teacher drives is drawn per group, since source and driving motion must agree.
        generator = torch.Generator().manual_seed(seed)
        taught = (torch.rand(groups, generator=generator) < teacher_share).to(source_image.device)
        points, driven = _teach(taught, batch, canonical.points, predicted, networks.config.layout)

        def repeat(x: Tensor) -> Tensor:
            return x.repeat_interleave(count - 1, 0)

        repeated = {name: repeat(f) for name, f in features.items()}
        pairs = CanonicalKeypoints(repeat(points))
        still, moved = driven.map(lambda x: repeat(x[:, 0])), driven.map(lambda x: x[:, 1:].flatten(0, 1))
        found = _aligned(networks, batch, features, CanonicalKeypoints(points), driven)
        # A picture that someone else drives has nothing to be aligned with.
        drawn = torch.rand(groups, generator=generator) >= _UNALIGNED
        moved = found.where(repeat(drawn.to(source_image.device))).applied(moved)
        with precision(source_image.device):
            motion = networks.dense_motion(repeated, pairs, still, moved)
        motion = _learning(motion, repeat(batch.filmed))
        target = batch.frames[:, 1:].flatten(0, 1)
        return Scene(features, repeated, points, driven, motion, repeat(source_image), target)


def _learning(motion: DenseMotion, filmed: Tensor) -> DenseMotion:
    """Dense motion that learns from filmed frames (B,) alone: photos bend hair and background with the face."""
    if bool(filmed.all()):
        return motion

    def held(x: Tensor) -> Tensor:
        return torch.where(filmed.reshape(-1, *[1] * (x.ndim - 1)), x, x.detach())

    return DenseMotion(*(held(getattr(motion, part.name)) for part in fields(DenseMotion)))


def _aligned(
    networks: SmallNetworks, batch: Batch, features: dict[str, Tensor], canonical: CanonicalKeypoints, driven: Motion
) -> Alignment:
    """Driving frames aligned to source images, as a sender does; of pairs the first comes before the second."""
    turns = 2 if batch.paired else 1
    each_turn = (batch.frames.shape[1] - 1) // turns

    def repeat(x: Tensor) -> Tensor:
        return x.repeat_interleave(each_turn, 0)

    repeated = {name: repeat(f) for name, f in features.items()}
    points, still = CanonicalKeypoints(repeat(canonical.points)), driven.map(lambda x: repeat(x[:, 0]))

    def surface_motion(driving: Motion, _keypoints: object) -> tuple[Tensor, Tensor]:
        with precision(batch.frames.device):
            return networks.surface(repeated, points, still, driving)

    grey = repeat(thumbnails(batch.frames[:, 0]))
    reference = AlignmentReference.of(points, still, surface_motion, networks.config.layout, grey, repeated["person"])
    last: Alignment | None = None
    found = []
    for turn in range(turns):
        now = slice(1 + turn, None, turns)
        moved = driven.map(lambda x, now=now: x[:, now].flatten(0, 1))  # type: ignore[misc]
        frames = thumbnails(batch.frames[:, now].flatten(0, 1))
        last = align(reference, moved, frames, last, 0.0 if last is None else FILE.hold)
        found.append(last)
    return Alignment(*(torch.stack([getattr(f, x.name) for f in found], 1).flatten(0, 1) for x in fields(Alignment)))


def _teach(
    taught: Tensor, batch: Batch, canonical: Tensor, predicted: Motion, layout: KeypointLayout
) -> tuple[Tensor, Motion]:
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
    return points, replace(driven, expression=_with_body(driven, batch.body, layout))


def _with_body(driven: Motion, place: Tensor, layout: KeypointLayout) -> Tensor:
    """Expression (G, 1 + N, K, 3) with the body's keypoints where the source's have gone, as far as that is known."""
    scale, shift = driven.scale[..., None, None], driven.translation[..., None, :2]
    extracted = driven.expression[..., layout.body, :]
    known = place[..., None, None, 0].isfinite()
    place = place.nan_to_num()  # or its gradient would be none either
    at_source = (scale * extracted[..., :2] + shift)[:, :1]  # (G, 1, B, 2)
    size, roll = place[..., None, 2], place[..., None, 3]  # (G, 1 + N, 1)
    there = torch.stack(turned_and_sized(at_source[..., 0], at_source[..., 1], size, roll), -1) + place[..., None, :2]
    body = torch.where(known, (there - shift) / scale, extracted[..., :2])
    return torch.cat([driven.expression[..., layout.head, :], torch.cat([body, extracted[..., 2:]], -1)], -2)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
