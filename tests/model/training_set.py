"""A tiny synthetic training set: two painted heads whose features move as a known motion says."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.teacher.decompose import face_shape

FRAMES = 5


def write_training_set(folder: Path, size: int = 256) -> None:
    """Clips and labels as `prepare` writes them: discs at the landmarks of a turning, talking mean face."""
    entries = []
    for person in range(2):
        rng = np.random.default_rng(person)
        points = landmarks(rng)
        background = rng.integers(40, 90, 3)
        skin = rng.integers(120, 220, 3)
        with av.open(str(folder / f"head{person}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "10"}
            for frame_points in points:
                picture = paint(frame_points, background, skin, size)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        np.savez(folder / f"head{person}.npz", points=points.astype(np.float16), present=np.ones(FRAMES, bool))
        entries.append(
            {
                "name": f"head{person}",
                "person": f"p{person}",
                "licence_class": "open" if person else "restricted",
                "licence": "made here",
                "frames": FRAMES,
                "fps": 12.0,
                "kind": "clip",
            }
        )
    (folder / "manifest.json").write_text(json.dumps(entries))


def landmarks(rng: np.random.Generator) -> NDArray[np.float32]:
    """(FRAMES, 478, 3) of a mean face in random poses, its lower lip moving."""
    n = FRAMES
    expression = np.zeros((n, 478, 3), np.float32)
    expression[:, [17, 14, 152], 1] = rng.uniform(0, 0.1, (n, 1))
    motion = Motion(
        yaw=rng.uniform(-20, 20, n).astype(np.float32),
        pitch=rng.uniform(-10, 10, n).astype(np.float32),
        roll=rng.uniform(-8, 8, n).astype(np.float32),
        translation=np.concatenate([rng.uniform(-0.1, 0.1, (n, 2)), np.zeros((n, 1))], 1).astype(np.float32),
        scale=rng.uniform(0.8, 1.0, n).astype(np.float32),
        expression=expression,
    )
    shape = np.broadcast_to(face_shape(), (n, 478, 3))
    points: NDArray[np.float32] = compose(CanonicalKeypoints(shape), motion)
    return points


def paint(
    points: NDArray[np.float32], background: NDArray[np.int64], skin: NDArray[np.int64], size: int
) -> NDArray[np.uint8]:
    """A head as discs: a large one for the skin, small dark ones at some landmarks."""
    y, x = np.mgrid[:size, :size]
    grid = np.stack([x, y], -1) * 2 / size - 1
    picture = np.broadcast_to(background, (size, size, 3)).astype(np.float32)
    centre = points[:, :2].mean(0)
    inside = ((grid - centre) ** 2).sum(-1) < 0.5**2
    picture = np.where(inside[..., None], skin, picture)
    for index in (33, 263, 4, 61, 291, 13, 14, 152, 105, 334):
        near = ((grid - points[index, :2]) ** 2).sum(-1) < 0.04**2
        picture = np.where(near[..., None], 20 + index % 50, picture)
    return np.ascontiguousarray(picture.astype(np.uint8))
