"""Mouths drawn from windows: teeth that the source image lacks, nothing outside the lips, nothing that flickers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from model.networks.small.mouth import MouthWindows, draw_mouth
from model.window.mouth import cut_window
from tests.model.mouths import SKIN, TEETH, face, lips, picture

DARK = (40, 20, 20)
CLOSED, OPEN = lips(0.0), lips(0.8)
WINDOWS = MouthWindows.of([cut_window(picture(OPEN), OPEN)], face(CLOSED))


def painted(points: np.ndarray, size: int = 256) -> Tensor:
    """What a generator paints that knows no teeth, uint8 (3, S, S)."""
    return torch.from_numpy(picture(points, DARK, size)).permute(2, 0, 1).contiguous()


def pixel(frame: Tensor, point: tuple[float, float]) -> np.ndarray:
    x, y = (int((value + 1) * frame.shape[-1] / 2) for value in point)
    return frame[:, y, x].numpy().astype(int)


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("opening", [0.7, 0.8, 0.9])
def test_teeth_come_from_the_window(size: int, opening: float) -> None:
    mouth = lips(opening, (0.1, 0.3), 0.2)
    drawn = draw_mouth(painted(mouth, size), WINDOWS, face(mouth))
    assert np.abs(pixel(drawn, (0.1, 0.3)) - TEETH).max() < 12


def test_outside_the_lips_nothing_changes() -> None:
    frame = painted(OPEN)
    drawn = draw_mouth(frame, WINDOWS, face(OPEN))
    for place in ((-0.4, 0.4), (0.4, 0.4), (0.0, 0.0), (0.0, 0.75)):
        assert (pixel(drawn, place) == SKIN).all()


def test_lips_as_in_the_source_image_stay() -> None:
    frame = painted(lips(0.05))
    assert torch.equal(draw_mouth(frame, WINDOWS, face(lips(0.05))), frame)


def test_from_closed_to_open_no_step() -> None:
    frame = painted(OPEN)
    drawn = [draw_mouth(frame, WINDOWS, face(lips(0.002 * i))).float() for i in range(300, 400)]
    steps = [float((a - b).abs().mean()) for a, b in itertools.pairwise(drawn)]
    assert max(steps) < 0.5


@pytest.mark.parametrize("count", [1, 3, 8])
def test_windows_come_in_without_a_step_however_many_there_are(count: int) -> None:
    frame = painted(OPEN)
    window = cut_window(picture(OPEN), OPEN)
    beside = MouthWindows.of([window] * count, face(CLOSED))
    drawn = [draw_mouth(frame, beside, face(lips(0.002 * i))).float() for i in range(100, 400)]
    steps = [float((a - b).abs().mean()) for a, b in itertools.pairwise(drawn)]
    assert max(steps) < 0.5


def test_the_nearer_window_is_drawn() -> None:
    green = cut_window(picture(lips(0.4), (0, 200, 0)), lips(0.4))
    both = MouthWindows.of([green, cut_window(picture(OPEN), OPEN)], face(CLOSED))
    assert pixel(draw_mouth(painted(lips(0.42)), both, face(lips(0.42))), (0, 0.4))[0] < 60
    assert pixel(draw_mouth(painted(OPEN), both, face(OPEN)), (0, 0.4))[0] > 200


def test_colours_are_brought_to_the_frame() -> None:
    frame = (painted(OPEN).float() * 0.85).to(torch.uint8)
    assert abs(pixel(draw_mouth(frame, WINDOWS, face(OPEN)), (0, 0.4))[0] - 0.85 * TEETH[0]) < 12


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 3.9, 0.0])
def test_wild_keypoints_stop_no_frame(value: float) -> None:
    frame = painted(OPEN)
    drawn = draw_mouth(frame, WINDOWS, torch.full((36, 3), value))
    assert drawn.shape == frame.shape


def test_a_mouth_at_the_border() -> None:
    mouth = lips(0.8, (0.9, 0.9))
    assert draw_mouth(painted(OPEN), WINDOWS, face(mouth)).shape == (3, 256, 256)


def test_closed_lips_in_one_line_can_be_drawn() -> None:
    flat = lips(0.8)
    flat[2:, 1] = 0.4
    state = MouthWindows.of([cut_window(picture(CLOSED), CLOSED)], face(OPEN))
    assert torch.isfinite(draw_mouth(painted(CLOSED), state, face(flat)).float()).all()
