"""Dense motion is corrected at the keypoints of the face."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import correct_flow
from model.networks.small_config import FEATURES, GUIDED
from model.teacher.decompose import face_shape

SIDE = 64


def face_keypoints(scale: float = 0.8) -> Tensor:
    """(1, 28, 2) of the mean face."""
    points = torch.from_numpy(face_shape()[[GUIDED[i] for i in FEATURES], :2])
    return scale * points[None].clone()


def at(flow: Tensor, points: Tensor) -> Tensor:
    """Flow (B, H, W, 2) read at points (B, N, 2)."""
    return F.grid_sample(flow.permute(0, 3, 1, 2), points[:, None], align_corners=False)[:, :, 0].mT


Moves = list[tuple[int, float, float]]
"""Positions in FEATURES and how far each keypoint has moved in x and y, crop units."""

SMILE: Moves = [(18, -0.03, -0.03), (19, 0.03, -0.03)]
BROWS: Moves = [(10, 0.0, -0.04), (11, 0.0, -0.04), (12, 0.0, -0.04), (13, 0.0, -0.04)]
OPEN: Moves = [(23, 0.0, 0.06), (22, 0.0, -0.01), (21, 0.0, 0.06), (20, 0.0, -0.005), (26, 0.0, 0.03), (27, 0.0, 0.03)]
LID: Moves = [(2, 0.0, 0.02)]
IRIS: Moves = [(8, -0.03, 0.0)]


@pytest.mark.parametrize(
    ("moves", "left"),
    # Neighbours that stay where they are hold a keypoint back: the grid's cells are as wide as an eye is open.
    [(BROWS, 0.5), (OPEN, 0.6), (SMILE, 0.7), (LID, 0.85), (IRIS, 0.85)],
    ids=["brows", "open mouth", "smile", "lid", "iris"],
)
@pytest.mark.parametrize("back", [False, True])
def test_the_driving_keypoints_come_from_those_of_the_source(moves: Moves, left: float, back: bool) -> None:
    driving, source = face_keypoints(), face_keypoints()
    for index, x, y in moves:
        (driving if back else source)[:, index] += torch.tensor([x, y])
    grid = pixel_grid(SIDE, SIDE, driving)
    flow = grid[None].clone()
    before = (at(flow, driving) - source).norm(dim=-1).max()
    after = (at(correct_flow(flow, grid, driving, source), driving) - source).norm(dim=-1).max()
    assert after < left * before


def test_flow_that_is_right_already_stays_as_it_is() -> None:
    driving = face_keypoints()
    grid = pixel_grid(SIDE, SIDE, driving)
    flow = grid[None] + 0.1
    torch.testing.assert_close(correct_flow(flow, grid, driving, driving + 0.1), flow, atol=1e-5, rtol=0)


def test_what_is_far_from_the_face_is_not_touched() -> None:
    driving = face_keypoints(0.5)
    grid = pixel_grid(SIDE, SIDE, driving)
    moved = correct_flow(grid[None], grid, driving, driving + 0.03)[0] - grid
    far = torch.cdist(grid.reshape(-1, 2), driving[0]).amin(-1).reshape(SIDE, SIDE) > 0.3
    assert far.any()
    assert moved[far].abs().max() < 1e-6
