"""Faces in a whole frame: MediaPipe's short-range BlazeFace (Bazarevsky et al., arXiv 1907.05047), 128 pixels, with its
published weights unchanged. Finds faces that fill an eighth of its picture or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.landmarks.network import Block, PaddedConv
from model.landmarks.roi import Region

SIDE = 128
"""Pixels of the picture that the network takes."""

ANCHORS = 896
"""Places where a face is looked for: two for each cell of a grid of 16 x 16, six for each of 8 x 8."""

_COORDINATES = 16  # of a face: centre, width, height, and six keypoints of which the eyes are the first two
_LEAST_SCORE = 0.4  # the landmark network has the last word
_SURE = 0.6  # a face that ends a search
_SAME = 0.3  # intersection over union from which two boxes are one face


class FaceDetector(nn.Module):
    """Picture (B, 3, 128, 128) in [0, 1] -> (B, 896, 17): of each anchor the logit of its score, then a face in pixels
    relative to the anchor's centre. `faces_of` reads it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(PaddedConv(3, 24, 5, 2), nn.ReLU())  # 64
        self.early = _chain(24, 24, 28, -32, 36, 42, -48)  # 16
        self.middle = _chain(48, 56, 64, 72, 80, 88)
        self.late = _chain(88, -96, 96, 96, 96, 96)  # 8
        self.scores = nn.ModuleList([nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)])
        self.boxes = nn.ModuleList([nn.Conv2d(88, 2 * _COORDINATES, 1), nn.Conv2d(96, 6 * _COORDINATES, 1)])

    def forward(self, picture: Tensor) -> Tensor:
        fine = self.middle(self.early(self.stem(2 * picture - 1)))
        maps = (fine, self.late(fine))
        scores = [_by_anchor(head(x), 1) for head, x in zip(self.scores, maps, strict=True)]
        boxes = [_by_anchor(head(x), _COORDINATES) for head, x in zip(self.boxes, maps, strict=True)]
        return torch.cat([torch.cat(scores, 1), torch.cat(boxes, 1)], -1)

    def layers(self) -> list[tuple[str, nn.Module]]:
        """Convolutions with their names, in the order of the published file."""
        return [(name, module) for name, module in self.named_modules() if isinstance(module, nn.Conv2d)]


@dataclass(frozen=True)
class Face:
    """A face that was detected, in pixels of the frame."""

    x: float  # centre of its box, from the eyebrows to the chin
    y: float
    width: float
    height: float
    eyes: NDArray[np.float64]  # (2, 2) x and y of the eye at the left of a frontal picture, and of the other
    score: float  # in [0.4, 1]

    @property
    def region(self) -> Region:
        """The square that the landmark network is to see."""
        return Region.around(self.x, self.y, max(self.width, self.height), *self.eyes)


def detect(network: Callable[[Tensor], Tensor], frame: NDArray[np.uint8], region: Region | None = None) -> list[Face]:
    """Faces of a frame uint8 (H, W, 3) RGB, the most certain first. `network`: a `FaceDetector`, or one compiled.

    region   where to look; by default all of the frame, of whose longer side a face must have an eighth
    """
    region = region or Region.whole(frame.shape[1], frame.shape[0])
    output = network(region.sample(frame, SIDE, "zeros"))
    found = []
    for box, score in faces_of(output[0].numpy()):
        x, y = region.to_frame(box[:2]).tolist()
        width, height = (box[2:4] * region.side).tolist()
        eyes = region.to_frame(box[4:8].reshape(2, 2)).astype(np.float64)
        found.append(Face(x, y, width, height, eyes, score))
    return found


def search(network: Callable[[Tensor], Tensor], frame: NDArray[np.uint8]) -> list[Face]:
    """`detect` in the whole frame and, while nothing is found for sure, in smaller squares that overlap by half.

    Their sides are the frame's shorter one, then half of it. Of a frame of 16:9 these are 3 and 21 squares.
    """
    height, width = frame.shape[:2]
    faces = detect(network, frame)
    for side in (min(width, height), min(width, height) / 2):
        if side < max(width, height) and not any(face.score >= _SURE for face in faces):
            squares = [Region(x, y, side) for y in _centres(height, side) for x in _centres(width, side)]
            faces = _distinct([*faces, *(face for square in squares for face in detect(network, frame, square))])
    return faces


def _centres(length: int, side: float) -> NDArray[np.float64]:
    """Of squares that cover a length and overlap by half at least."""
    return np.linspace(side / 2, length - side / 2, math.ceil(2 * (length / side - 1)) + 1)


def _distinct(faces: list[Face]) -> list[Face]:
    """The most certain one of each that was found in several squares, in that order."""
    found: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        box = np.array([face.x, face.y, face.width, face.height])
        others = np.array([[f.x, f.y, f.width, f.height] for f in found]).reshape(-1, 4)
        if not (_overlaps(others, box) > _SAME).any():
            found.append(face)
    return found


def faces_of(output: NDArray[np.float32]) -> list[tuple[NDArray[np.float64], float]]:
    """The detector's (896, 17) as faces: centre, size and six keypoints (16,) in sides of the picture, and the score.

    Overlapping boxes are one face, their mean weighted by their scores (BlazeFace's blending), with the best one's
    score.
    """
    scores = 1 / (1 + np.exp(-np.clip(output[:, 0].astype(np.float64), -100, 100)))
    likely = np.flatnonzero(scores >= _LEAST_SCORE)
    likely = likely[np.argsort(-scores[likely], kind="stable")]
    boxes = output[likely, 1:].astype(np.float64) / SIDE
    centres = _anchors()[likely]
    boxes[:, :2] += centres
    boxes[:, 4:] += np.tile(centres, 6)
    scores = scores[likely]
    found = []
    while len(boxes):
        same = _overlaps(boxes, boxes[0]) > _SAME
        same[0] = True  # also where its size is none
        found.append((np.average(boxes[same], axis=0, weights=scores[same]), float(scores[0])))
        boxes, scores = boxes[~same], scores[~same]
    return found


def _anchors() -> NDArray[np.float64]:
    """Centres of the anchors, (896, 2), in sides of the picture."""
    grids = []
    for side, count in ((16, 2), (8, 6)):
        axis = (np.arange(side) + 0.5) / side
        cells = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        grids.append(np.repeat(cells, count, axis=0))
    return np.concatenate(grids)


def _overlaps(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4...) with one (4...), each centre and size."""
    low = np.maximum(boxes[:, :2] - boxes[:, 2:4] / 2, box[:2] - box[2:4] / 2)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:4] / 2, box[:2] + box[2:4] / 2)
    common = np.clip(high - low, 0, None).prod(1)
    union = boxes[:, 2:4].prod(1) + box[2:4].prod() - common
    return np.where(union > 0, common / np.maximum(union, 1e-12), 0.0)


def _chain(inputs: int, *outputs: int) -> nn.Sequential:
    """Blocks one after the other with so many outputs; a negative number is that of a block with stride 2."""
    blocks = []
    for count in outputs:
        blocks.append(Block(inputs, abs(count), 2 if count < 0 else 1, nn.ReLU()))
        inputs = abs(count)
    return nn.Sequential(*blocks)


def _by_anchor(x: Tensor, values: int) -> Tensor:
    """(B, anchors * values, H, W) -> (B, H * W * anchors, values)."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
