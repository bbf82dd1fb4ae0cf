"""Scores of several systems' frames against the true ones: the metrics with the networks they need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.evaluate import metrics
from model.evaluate.identity import IdentityNetwork, similarity
from model.evaluate.points68 import Points68
from model.perceptual.networks import Lpips
from model.teacher.decompose import decompose
from model.teacher.landmarks import LandmarkSource

Frames = NDArray[np.uint8]
Scores = dict[str, float | None]

PICTURE_METRICS = {"l1": metrics.l1, "psnr": metrics.psnr, "ssim": metrics.ssim, "ms_ssim": metrics.ms_ssim}


@dataclass(frozen=True)
class Networks:
    """What the scores need beyond arithmetic; None leaves out the scores that need it (they come out as None)."""

    lpips: Lpips
    landmarks: LandmarkSource | None = None
    identity: IdentityNetwork | None = None
    points: Points68 | None = None
    identity_every: int = 5  # CSIM on each n-th scored frame: 60 ms a face
    lpips_vgg: Lpips | None = None
    vgg_every: int = 5  # LPIPS by VGG16 on each n-th scored frame: 40 GFLOP at 256 pixels
    batch: int = 16


class Truth:
    """The true frames of a clip with what is computed from them once."""

    def __init__(self, frames: Frames, networks: Networks) -> None:
        """`frames`: uint8 (T, S, S, 3), T >= 1, consecutive in time for the landmark tracker's and flicker's sake."""
        self.frames = frames
        self.networks = networks
        self._of_batch: dict[int, list[Tensor]] = {}  # features of LPIPS by the batch's first frame

    def score(self, frames: Frames, *, consecutive: bool = True) -> Scores:
        """Means over the clip of `frames`, uint8 (T, S, S, 3), against the truth.

        l1, flicker in [0, 1]; psnr dB; ssim, ms_ssim, csim up to 1; lpips (alex), lpips_vgg; akd pixels (at 256); pose
        degrees; missing: share of frames whose face the landmark teacher does not find although it is there (they are
        left out of akd and pose). `consecutive`: whether the frames are neighbours in time; flicker is None otherwise.
        Raises ValueError when the shapes differ.
        """
        if frames.shape != self.frames.shape:
            raise ValueError(f"frames are {frames.shape}, the truth is {self.frames.shape}")
        scores = self._pictures(frames, consecutive)
        scores |= self._landmarks(frames)
        scores["csim"] = self._identity(frames)
        scores["lpips_vgg"] = self._vgg(frames)
        return scores

    def _pictures(self, frames: Frames, consecutive: bool) -> Scores:
        sums: dict[str, list[Tensor]] = {}
        step = self.networks.batch
        for start in range(0, len(frames), step):
            a, b = (as_tensor(x[start : start + step]) for x in (frames, self.frames))
            for name, metric in PICTURE_METRICS.items():
                sums.setdefault(name, []).append(metric(a, b))
            features = self._features(start, b)
            sums.setdefault("lpips", []).append(self.networks.lpips.between(self.networks.lpips.features(a), features))
            # One frame of overlap, so that no pair of neighbours is missed between batches.
            before = max(start - 1, 0)
            c, d = (as_tensor(x[before : start + step]) for x in (frames, self.frames))
            sums.setdefault("flicker", []).append(metrics.flicker(c, d))
        scores: Scores = {name: float(torch.cat(parts).mean()) for name, parts in sums.items()}
        if not consecutive or len(frames) < 2:
            scores["flicker"] = None
        return scores

    def _features(self, start: int, frames: Tensor) -> list[Tensor]:
        if start not in self._of_batch:
            self._of_batch[start] = self.networks.lpips.features(frames)
        return self._of_batch[start]

    @cached_property
    def _points(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        assert self.networks.landmarks is not None
        return self.networks.landmarks.landmarks(self.frames)

    def _landmarks(self, frames: Frames) -> Scores:
        if self.networks.landmarks is None:
            return {"akd": None, "pose": None, "missing": None}
        points, present = self._points
        found_points, found = self.networks.landmarks.landmarks(frames)
        both = present & found
        missing = float((present & ~found).sum() / max(1, present.sum()))
        if not both.any():
            return {"akd": None, "pose": None, "missing": missing}
        akd = metrics.landmark_distance(torch.from_numpy(found_points[both]), torch.from_numpy(points[both]))
        pose = metrics.pose_error(head_angles(found_points[both]), head_angles(points[both]))
        return {"akd": float(akd.mean()), "pose": float(pose.mean()), "missing": missing}

    @cached_property
    def _faces(self) -> list[tuple[int, tuple[int, int, int, int], NDArray[np.float32]]]:
        """(frame, box, embedding) of each frame that CSIM compares and in which a face is found."""
        network = self.networks.identity
        assert network is not None
        faces = []
        for i in range(0, len(self.frames), self.networks.identity_every):
            box = network.find(self.frames[i])
            if box is not None:
                faces.append((i, box, network.embed(self.frames[i], box)))
        return faces

    def _identity(self, frames: Frames) -> float | None:
        network = self.networks.identity
        if network is None or not self._faces:
            return None
        embeddings = np.stack([network.embed(frames[i], box) for i, box, _ in self._faces])
        return float(similarity(embeddings, np.stack([truth for _, _, truth in self._faces])).mean())

    @cached_property
    def _vgg_features(self) -> list[list[Tensor]]:
        assert self.networks.lpips_vgg is not None
        return [self.networks.lpips_vgg.features(as_tensor(frame[None])) for frame in self._each_vgg(self.frames)]

    def _vgg(self, frames: Frames) -> float | None:
        network = self.networks.lpips_vgg
        if network is None:
            return None
        found = (network.features(as_tensor(frame[None])) for frame in self._each_vgg(frames))
        distances = [float(network.between(a, b)) for a, b in zip(found, self._vgg_features, strict=True)]
        return float(np.mean(distances))

    def _each_vgg(self, frames: Frames) -> Frames:
        return frames[:: self.networks.vgg_every]


def flicker_of_pairs(frames: tuple[Frames, Frames], truth: tuple[Frames, Frames]) -> float:
    """Flicker of frames that are not neighbours; each tuple: the frames before, uint8 (T, S, S, 3), and those after.

    Mean of `metrics.flicker` over the T pairs.
    """
    pairs = zip(*frames, *truth, strict=True)
    values = [metrics.flicker(as_tensor(np.stack([a, b])), as_tensor(np.stack([c, d]))) for a, b, c, d in pairs]
    return float(torch.cat(values).mean())


def mean_scores(scores: list[Scores]) -> Scores:
    """Mean over clips, each counting the same; a score that a clip lacks is left out of its mean."""
    names = {name: None for row in scores for name in row}  # in order of appearance
    means: Scores = {}
    for name in names:
        values = [value for row in scores if (value := row.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def head_angles(points: NDArray[np.float32]) -> Tensor:
    """Yaw, pitch, roll in degrees, (T, 3), of teacher landmarks (T, 478, 3) in crop units."""
    pose = decompose(points)
    return torch.from_numpy(np.stack([pose.yaw, pose.pitch, pose.roll], -1))


def as_tensor(frames: Frames) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 255


def as_frames(pictures: Tensor) -> Frames:
    """Float (B, 3, H, W) in [0, 1], or uint8, to uint8 (B, H, W, 3)."""
    if pictures.dtype != torch.uint8:
        pictures = (pictures.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
