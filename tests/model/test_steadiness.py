"""Whether a camera stands still, told from backgrounds that do or do not move, and which clips that leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.train.data import ClipSet
from model.train.steadiness import STEADY, background_motion
from tests.model.training_set import write_training_set

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


def test_a_background_that_stands_still_behind_a_moving_head() -> None:
    still = background_motion(*film(0, texture()))
    assert still is not None
    assert still < 0.3


def test_a_background_that_moves() -> None:
    moving = background_motion(*film(4, texture()))
    assert moving is not None
    assert moving > STEADY


def test_a_plain_wall_tells_nothing() -> None:
    assert background_motion(*film(0, np.full((320, 320, 3), 90, np.uint8))) is None


def test_steady_clips_are_measured_once(tmp_path: Path) -> None:
    write_training_set(tmp_path)
    clips = ClipSet(tmp_path, torch.device("cpu"))
    assert set(clips.steady) <= set(clips.people)
    measured = json.loads((tmp_path / "steadiness.json").read_text())
    films = [clip.name for clip in clips.clips if clip.kind != "still"]
    assert sorted(measured) == sorted(films)

    # What is written is believed: one person's camera is said to shake, the other's to stand.
    first, *others = films
    (tmp_path / "steadiness.json").write_text(json.dumps({first: 99.0} | dict.fromkeys(others, 0.0)))
    again = ClipSet(tmp_path, torch.device("cpu"))
    assert all(again.clips[i].name != first for members in again.steady.values() for i in members)
    batch = next(again.batches(4, 1, seed=0, steady=True))
    assert batch.filmed.all()

    (tmp_path / "steadiness.json").write_text(json.dumps(dict.fromkeys(films, 99.0)))
    assert ClipSet(tmp_path, torch.device("cpu")).steady  # none stands still: then all
