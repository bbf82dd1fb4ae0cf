"""Where the pixels of one frame come from in another: labels for dense motion that need no renderer.

Two sources, each right where the other is not: the teacher's landmarks know the face through any turn, and also what it
would look like from a view that nobody filmed; optical flow knows hair, shoulders and a background that stands still.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.motion import rotation_matrix
from model.networks.grid import pixel_grid
from model.networks.small.blocks import warp
from model.teacher.decompose import face_shape

_BACK = 0.55
"""Depth in face units of the point that the face bulges away from; normals point from there."""
_EDGE = 0.15
"""Cosine of the angle to the viewer at which a landmark begins to count as seen."""
_AROUND = 0.2
"""How far around a keypoint of the body its surroundings count, crop units (one sigma)."""
_CONSISTENT = 2.0 * 1.2 / 256
"""Crop units (1.2 pixels of 256) within which flow there and back must close."""


def seen(mesh: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """How surely each landmark faces the viewer, (..., 478) in [0, 1], of a head turned by angles of shape (...)."""
    normals = torch.from_numpy(_normals()).to(mesh)  # (478, 3)
    toward = -(normals @ rotation_matrix(yaw, pitch, roll).mT)[..., 2]  # z grows away from the viewer
    out: Tensor = ((toward - _EDGE) / 0.3).clamp(0, 1)
    return out


def turned(mesh: Tensor, translation: Tensor, rotation: Tensor) -> Tensor:
    """Landmarks (B, 478, 3) of heads at `translation` (B, 3), turned by `rotation` (B, 3, 3) about it."""
    return (mesh - translation[:, None]) @ rotation.mT + translation[:, None]


def landmark_flow_error(flow: Tensor, driving: Tensor, source: Tensor, weight: Tensor) -> Tensor:
    """Mean distance, crop units, of where `flow` leads at the driving landmarks from the source landmarks.

    flow             (B, H, W, 2) source coordinates of each driving pixel
    driving, source  (B, N, 3) landmarks in crop units
    weight           (B, N); those outside the picture count nothing
    """
    at = driving[..., :2]
    read = F.grid_sample(flow.permute(0, 3, 1, 2), at[:, None], padding_mode="border", align_corners=False)
    gap = (read[:, :, 0].mT - source[..., :2]).abs().sum(-1)  # (B, N)
    weight = weight * ((at.abs() < 0.98) & (source[..., :2].abs() < 0.98)).all(-1)
    return (gap * weight).sum() / weight.sum().clamp(min=1.0)


def body_flow_error(points: Tensor, label: Tensor, trusted: Tensor, chin: Tensor, filmed: Tensor) -> Tensor:
    """Mean distance, crop units, by which the body's keypoints move differently from what surrounds them.

    points   (B, 2, N, 2) in the source and in the driving frame
    label    (B, H, W, 2) source coordinates of each driving pixel by optical flow
    trusted  (B, H, W) where that holds
    chin     (B,) how far down the head reaches in the driving frame: what lies above is not the body
    filmed   (B,) false for photos, whose body bends with the face
    """
    size = label.shape[1]
    grid = pixel_grid(size, size, label)  # (H, W, 2)
    at = points[:, 1].detach()
    gap = ((grid - at[:, :, None, None]) ** 2).sum(-1)  # (B, N, H, W)
    body = trusted & (grid[..., 1] > chin[:, None, None]) & filmed[:, None, None]
    weight = torch.exp(-gap / (2 * _AROUND**2)) * body[:, None]
    moved = points[:, 0] - points[:, 1]  # (B, N, 2)
    residual = (moved[:, :, None, None] - (label - grid)[:, None]).abs().sum(-1).clamp(max=0.3)  # (B, N, H, W)
    return (residual * weight).sum() / weight.sum().clamp(min=1.0)


def optical_flow(source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """Flow (B, S, S, 2) from driving to source pictures (B, 3, S, S) in [0, 1], as source coordinates, by dense inverse
    search (Kroeger et al. 2016), and (B, S, S) whether flow the other way leads back.

    Needs OpenCV, a training dependency.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # OpenCV lets go of the interpreter's lock
        searched = list(threads.map(_search, _grey(driving), _grey(source)))
    there, back = (torch.from_numpy(np.stack(part)).to(source.device) for part in zip(*searched, strict=True))
    size = source.shape[-1]
    flow = pixel_grid(size, size, there) + there * 2 / size
    return flow, _closed(there, back) & (flow.abs() < 0.99).all(-1)


def pixel_motion(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where each pixel of a grey picture (S, S) has gone in another, (S, S, 2) pixels; (S, S) whether it leads back.

    Needs OpenCV, a training dependency.
    """
    there, back = _search(one, other)
    return there, _closed(torch.from_numpy(there)[None], torch.from_numpy(back)[None])[0].numpy()


def _closed(there: Tensor, back: Tensor) -> Tensor:
    """Whether motion (B, S, S, 2) in pixels there and back leads back: (B, S, S)."""
    size = there.shape[1]
    landed = warp(back.permute(0, 3, 1, 2), pixel_grid(size, size, there) + there * 2 / size).permute(0, 2, 3, 1)
    closed: Tensor = (there + landed).norm(dim=-1) * 2 / size < _CONSISTENT
    return closed


def _search(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel has gone, there and back, (S, S, 2) pixels each."""
    import cv2

    cv2.setNumThreads(1)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return search.calc(one, other, None), search.calc(other, one, None)


def _grey(pictures: Tensor) -> NDArray[np.uint8]:
    weights = torch.tensor([0.299, 0.587, 0.114], device=pictures.device)[:, None, None]
    grey = ((pictures.detach() * weights).sum(1) * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(grey.cpu().numpy())


@lru_cache(maxsize=1)
def _normals() -> NDArray[np.float32]:
    """Outward directions (478, 3) of the mean face, taken for an ellipsoid: wide and deep as it is, taller."""
    away = (face_shape() - np.array([0, 0.15, _BACK], np.float32)) / np.array([1.0, 1.5, 1.0], np.float32) ** 2
    return np.asarray(away / np.linalg.norm(away, axis=-1, keepdims=True), np.float32)
