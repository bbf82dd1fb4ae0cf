"""Eyes drawn as eye windows show them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model.networks.small.eye_windows import EyeWindows, draw_eye_windows
from model.window.eyes import EyeWindow, cut_window, usable
from tests.model.eyes import eyes, face, picture

OPEN, CLOSED = eyes(0.7), eyes(0.04)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def beside(*points: np.ndarray) -> EyeWindows:
    return EyeWindows.of([cut_window(picture(p), p) for p in points], face(OPEN))


def error(frame: Tensor, wanted: np.ndarray) -> float:
    """In the eyes' surroundings."""
    return float((frame.float() - tensor(wanted).float()).abs()[..., 85:120, 60:196].mean())


def test_a_window_of_closed_eyes_closes_them() -> None:
    painted = tensor(picture(OPEN))
    drawn = draw_eye_windows(painted, [beside(CLOSED)], face(CLOSED)[None])
    assert error(drawn, picture(CLOSED)) < 0.25 * error(painted, picture(CLOSED))
    assert torch.equal(painted, tensor(picture(OPEN)))  # what was given is left alone


def test_the_nearest_window_counts() -> None:
    aside = eyes(0.7, 0.5)
    drawn = draw_eye_windows(tensor(picture(OPEN)), [beside(CLOSED, aside)], face(aside)[None])
    assert error(drawn, picture(aside)) < 0.25 * error(tensor(picture(OPEN)), picture(aside))


def test_where_the_source_image_is_nearer_nothing_is_drawn() -> None:
    painted = tensor(picture(OPEN))
    assert torch.equal(draw_eye_windows(painted, [beside(CLOSED)], face(OPEN)[None]), painted)
    assert torch.equal(draw_eye_windows(painted, [None], face(CLOSED)[None]), painted)


def test_windows_that_are_far_away_are_not_stretched() -> None:
    painted, wide = tensor(picture(OPEN)), eyes(1.8)
    windows = EyeWindows.of([cut_window(picture(p), p) for p in (eyes(1.3),)], face(CLOSED))
    assert torch.equal(draw_eye_windows(painted, [windows], face(wide)[None]), painted)


def test_eyes_as_large_as_the_picture_are_none() -> None:
    painted, large = tensor(picture(OPEN)), CLOSED * np.float32(4)
    assert torch.equal(draw_eye_windows(painted, [beside(CLOSED)], face(large)[None]), painted)


@pytest.mark.parametrize("wild", [float("nan"), 1e9, 0.0])
def test_wild_keypoints_stop_no_frame(wild: float) -> None:
    points = torch.full_like(face(CLOSED), wild)[None]
    assert draw_eye_windows(tensor(picture(OPEN)), [beside(CLOSED)], points).shape == (1, 3, 256, 256)


def test_what_can_be_cut() -> None:
    assert usable(np.stack([OPEN, CLOSED])).tolist() == [True, True]
    assert not usable(OPEN + np.float32(0.9))
    assert not usable(0.2 * OPEN)
    beside_edge = OPEN + np.array([0.56, 0], np.float32)  # all keypoints are in the crop, the picture is not
    assert (np.abs(beside_edge) < 1).all()
    assert not usable(beside_edge)
    window = cut_window(picture(OPEN), OPEN)
    assert isinstance(window, EyeWindow)
    assert window.picture.shape[1] == 2 * window.picture.shape[0]
