"""Where backgrounds of training clips lie, whether that is known, and which clips that leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.motion import turned_and_sized
from model.train.data import ClipSet
from model.train.surroundings import KNOWN, Surroundings, background_residual, measure, read, write
from tests.model.training_set import FRAMES, write_training_set

pytest.importorskip("cv2", reason="OpenCV is a training dependency")

FACE = np.array([[-0.3, -0.4], [0.3, -0.4], [0.3, 0.5], [-0.3, 0.5]], np.float32)


def texture() -> NDArray[np.uint8]:
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(noise, size=(320, 320), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return np.asarray((smooth.permute(1, 2, 0) * 255).byte().numpy(), np.uint8)


def film(shift: int, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pairs of six frames: a background that moves by `shift` pixels a frame, a grey face that moves before it."""
    frames = np.stack([picture[:256, i * shift : i * shift + 256].copy() for i in range(6)])
    meshes = np.stack([FACE + np.array([6 * i / 256, 0], np.float32) for i in range(6)])
    for frame, mesh in zip(frames, meshes, strict=True):
        (left, top), (right, bottom) = ((mesh[[0, 2]] + 1) * 128).astype(int)
        frame[top:bottom, left:right] = 120
    pairs = np.array([[0, 1], [1, 2], [2, 4], [5, 3]])
    return frames[pairs], meshes[pairs]


STILL = np.zeros((4, 4), np.float32)


def test_a_background_that_stands_still_behind_a_moving_head() -> None:
    residual = background_residual(*film(0, texture()), STILL)
    assert residual is not None
    assert residual < 0.3


def test_a_background_that_moves() -> None:
    residual = background_residual(*film(4, texture()), STILL)
    assert residual is not None
    assert residual > KNOWN

    # Four pixels a frame to the left, measured for the pairs (0, 1), (1, 2), (2, 4), (5, 3).
    measured = STILL.copy()
    measured[:, 0] = np.array([-4, -4, -8, 8]) / 128
    residual = background_residual(*film(4, texture()), measured)
    assert residual is not None
    assert residual < 0.3


def test_a_plain_wall_tells_nothing() -> None:
    assert background_residual(*film(0, np.full((320, 320, 3), 90, np.uint8)), STILL) is None


def test_the_background_of_a_clip_is_measured() -> None:
    picture = texture()
    frames = np.stack([picture[:256, 2 * i : 2 * i + 256] for i in range(7)])
    meshes = np.stack([FACE] * 7)
    pose = np.tile(np.array([0, 0, 0, 0.4, 0, 0], np.float32), (7, 1))
    background = measure(frames, meshes, pose, np.random.default_rng(0))
    assert background.known
    np.testing.assert_allclose(background.places[:, 0] * 128, 2.0 * (3 - np.arange(7)), atol=0.5)


def test_backgrounds_are_measured_once(tmp_path: Path) -> None:
    write_training_set(tmp_path)
    clips = ClipSet(tmp_path, torch.device("cpu"))
    assert set(clips.understood) <= set(clips.people)
    measured = read(tmp_path / "surroundings.npz")
    films = [clip.name for clip in clips.clips if clip.kind != "still"]
    assert sorted(measured) == sorted(films)

    # What is written is believed: one person's background has a large residual, the other's moves as is known.
    first, *others = films
    places = np.zeros((FRAMES, 4), np.float32)
    places[:, 0] = 0.01 * np.arange(FRAMES)
    write(
        tmp_path / "surroundings.npz",
        {first: Surroundings(places, places, 99.0)} | dict.fromkeys(others, Surroundings(places, places, 0.0)),
    )
    again = ClipSet(tmp_path, torch.device("cpu"))
    assert all(again.clips[i].name != first for members in again.understood.values() for i in members)
    batch = next(again.batches(4, 1, seed=0, augment=False, understood=True))
    assert batch.filmed.all()
    assert not batch.motion.background[:, 0].any()  # the source's own
    assert set((batch.motion.background[:, 1, 0] * 100).round().int().tolist()) <= set(range(-FRAMES, FRAMES))
    assert not next(again.batches(4, 1, seed=0)).motion.background.any()

    write(tmp_path / "surroundings.npz", dict.fromkeys(films, Surroundings(places, places, 99.0)))
    assert ClipSet(tmp_path, torch.device("cpu")).understood  # none is known: then all


def test_crops_and_mirrors_take_the_background_along(tmp_path: Path) -> None:
    write_training_set(tmp_path)
    clips = ClipSet(tmp_path, torch.device("cpu"))
    rng = np.random.default_rng(3)
    places = rng.uniform(-0.1, 0.1, (FRAMES, 4)).astype(np.float32)
    write(tmp_path / "surroundings.npz", {c.name: Surroundings(places, places, 0.0) for c in clips.clips})
    clips = ClipSet(tmp_path, torch.device("cpu"))
    plain = next(clips.batches(12, 4, seed=5, augment=False, understood=True))
    cropped = next(clips.batches(12, 4, seed=5, understood=True))

    def moved(place: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        x, y = turned_and_sized(points[..., 0], points[..., 1], place[2], place[3])
        return torch.stack([x, y], -1) + place[:2]

    points = torch.tensor([[0.0, 0.0], [0.7, 0.1], [-0.3, 0.9]])
    groups = [g for g in range(12) if len(plain.motion.translation[g, :, 0].unique()) >= 3]
    assert groups
    for group in groups:
        # The heads' places say what crop was drawn: p' = T p.
        old, new = (b.motion.translation[group, :, :2] for b in (plain, cropped))
        drawn = torch.linalg.lstsq(torch.cat([old, torch.ones(5, 1)], 1), new).solution  # (3, 2)

        def crop(p: torch.Tensor, drawn: torch.Tensor = drawn) -> torch.Tensor:
            return p @ drawn[:2] + drawn[2]

        # A background point that lies at p and moves: cropped, then moved, or moved, then cropped.
        for before, after in zip(plain.motion.background[group], cropped.motion.background[group], strict=True):
            torch.testing.assert_close(moved(after, crop(points)), crop(moved(before, points)), atol=2e-4, rtol=0)
