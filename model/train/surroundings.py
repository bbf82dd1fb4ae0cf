"""Where backgrounds and bodies of training clips lie, measured as a sender does; of backgrounds, whether that is known.

Pairs of frames whose background moves otherwise than is measured teach dense motion to drag backgrounds with heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats
from model.keypoint_layout import KeypointLayout
from model.media.atomic_file import complete_file
from model.motion import Motion, background_since, turned_and_sized
from model.registration.background import BackgroundTracker
from model.registration.body import BodyTracker
from model.registration.similarity import GreyPyramid, thumbnail
from model.train.correspondence import pixel_motion

KNOWN = 2.0
"""Pixels of 256 by which the measured background of a clip may err between two frames, median over the background."""

_PAIRS = 4  # of frames of a clip that are compared
_LOST = 9.0  # pixels that count for a background of which optical flow finds less than a third again
_NEAR = 45  # pixels around the face that are hair and neck
_TEXTURE = 400.0  # squared gradient from which there is something to see move
_LEAST = 150  # pixels of background that say something


@dataclass(frozen=True)
class Surroundings:
    """Of one clip."""

    places: Floats  # (T, 4) `Motion.background` of each frame, since the one in the middle of the clip
    bodies: Floats  # (T, 4) the same of the body below the chin; not a number where it could not be measured
    residual: float | None  # mean of some pairs of frames, pixels of 256; None where there is nothing to see

    @property
    def known(self) -> bool:
        """Whether pictures may be learned from."""
        return self.residual is None or self.residual <= KNOWN


def measure(frames: NDArray[np.uint8], meshes: Floats, pose: Floats, rng: np.random.Generator) -> Surroundings:
    """Background and body of a clip of T >= 2 frames.

    frames (T, S, S, 3) RGB, meshes (T, N, 2) landmarks in crop units, pose (T, 6) as of `data.Clip`
    Needs OpenCV, a training dependency.
    """
    count = len(frames)
    small = np.stack([thumbnail(frame) for frame in frames])
    yaw, pitch, roll, scale = pose.T[:4]
    place = np.concatenate([pose[:, 4:6], np.zeros((count, 1), np.float32)], 1)
    motions = Motion(yaw, pitch, roll, place, scale, np.zeros((count, 1, 3), np.float32))
    places, bodies = _followed(small, motions, count // 2)
    pairs = np.stack([rng.choice(count, 2, replace=False) for _ in range(_PAIRS)])
    moved = background_since(places[pairs[:, 1]], places[pairs[:, 0]])
    return Surroundings(places, bodies, background_residual(frames[pairs], meshes[pairs], moved))


def _followed(small: NDArray[np.uint8], motions: Motion, source: int) -> tuple[Floats, Floats]:
    """Places (T, 4) of background and body since the frame `source`."""
    places = np.zeros((2, len(small), 4), np.float32)
    for later in (range(source + 1, len(small)), range(source - 1, -1, -1)):
        behind = BackgroundTracker()
        picture = GreyPyramid(small[source])
        behind.follow(picture, motions[source])
        start = behind.backdrop()
        # There is no extractor yet to place the body: the only point there is lies in the head, which is a guess.
        body = BodyTracker(picture, motions[source], KeypointLayout(1, body_count=1))
        for index in later:
            picture = GreyPyramid(small[index])
            places[0, index] = behind.follow(picture, motions[index], start)
            body.follow(picture, motions[index])
            places[1, index] = body.place if body.measured else np.nan
    return places[0], places[1]


def read(path: Path) -> dict[str, Surroundings]:
    """What `write` wrote; empty where there is no such file."""
    if not path.exists():
        return {}
    with np.load(path) as data:
        missed = dict(zip(data["names"].tolist(), data["missed"].tolist(), strict=True))
        return {
            n: Surroundings(data[f"places {n}"], data[f"bodies {n}"], None if np.isnan(m) else m)
            for n, m in missed.items()
        }


def write(path: Path, clips: dict[str, Surroundings]) -> None:
    """Keep those of clips by name."""
    missed = [np.nan if b.residual is None else b.residual for b in clips.values()]
    places = {f"places {name}": b.places for name, b in clips.items()}
    places |= {f"bodies {name}": b.bodies for name, b in clips.items()}
    with complete_file(path) as partial, partial.open("wb") as file:
        np.savez(file, names=np.array(list(clips)), missed=np.array(missed), **places)  # type: ignore[arg-type]


def background_residual(frames: NDArray[np.uint8], meshes: Floats, moved: Floats) -> float | None:
    """By how much the background moves otherwise than by `moved` between two frames of a clip, mean of P pairs, in
    pixels; None without texture.

    frames  (P, 2, S, S, 3) RGB
    meshes  (P, 2, N, 2) landmarks in crop units
    moved   (P, 4) place of the second frame's background since the first

    Needs OpenCV, a training dependency.
    """
    import cv2

    size = frames.shape[2]
    y, x = (np.mgrid[:size, :size].astype(np.float32) * 2 + 1) / size - 1
    residuals = []
    for pair, mesh, place in zip(frames, meshes, moved, strict=True):
        one, other = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair)
        there, consistent = pixel_motion(one, other)
        points = ((mesh.reshape(-1, 2) + 1) * size / 2).astype(np.int32)
        head = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(head, cv2.convexHull(points), 1)
        head = cv2.dilate(head, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8))
        slope = cv2.Sobel(one, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(one, cv2.CV_32F, 0, 1) ** 2
        background = (head == 0) & (np.arange(size)[:, None] < points[:, 1].max()) & (slope > _TEXTURE)
        if background.sum() < _LEAST:
            continue
        u, v = turned_and_sized(x, y, place[2], place[3])
        measured = np.stack([u + place[0] - x, v + place[1] - y], -1) * size / 2  # (S, S, 2) pixels
        found = background & consistent
        distance = np.linalg.norm(there - measured, axis=-1)[found]
        residuals.append(float(np.median(distance)) if found.sum() > 0.3 * background.sum() else _LOST)
    return float(np.mean(residuals)) if residuals else None
