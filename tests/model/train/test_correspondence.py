"""Labels of dense motion: what landmarks and geometry say of where pixels come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import angles, rotation_matrix
from model.networks.grid import pixel_grid
from model.teacher.decompose import decompose, face_shape
from model.train.correspondence import body_flow_error, landmark_flow_error, optical_flow, seen, turned

NOSE, RIGHT_EAR, LEFT_EAR = 4, 234, 454


def degrees(*values: float) -> tuple[Tensor, Tensor, Tensor]:
    yaw, pitch, roll = (torch.tensor([value]) for value in values)
    return yaw, pitch, roll


def mean_face() -> Tensor:
    return torch.from_numpy(face_shape())[None]


def test_a_frontal_face_shows_its_nose_and_both_ears_a_turned_one_only_one() -> None:
    frontal = seen(mean_face(), *degrees(0, 0, 0))[0]
    assert float(frontal[NOSE]) == 1
    assert float(frontal[RIGHT_EAR]) == pytest.approx(float(frontal[LEFT_EAR]), abs=0.05)
    assert float(frontal[RIGHT_EAR]) > 0
    one, other = seen(mean_face(), *degrees(45, 0, 0))[0][[RIGHT_EAR, LEFT_EAR]].tolist()
    assert min(one, other) == 0
    assert max(one, other) == 1


def test_turned_landmarks_read_back_as_turned() -> None:
    turn = rotation_matrix(*degrees(20, 0, 0))
    shift = torch.tensor([[0.1, -0.2, 0.0]])
    pose = decompose(turned(mean_face() + shift, shift, turn).numpy())
    assert float(pose.yaw[0]) == pytest.approx(20, abs=0.1)
    assert np.allclose(pose.translation, shift.numpy(), atol=1e-3)
    assert float(angles(turn)[0]) == pytest.approx(20, abs=1e-3)


def test_flow_that_takes_every_landmark_where_it_was_has_no_error() -> None:
    driving = mean_face()
    source = driving + torch.tensor([0.05, -0.02, 0.3])
    weight = torch.ones(1, driving.shape[1])
    flow = pixel_grid(64, 64, driving)[None] + torch.tensor([0.05, -0.02])
    assert float(landmark_flow_error(flow, driving, source, weight)) == pytest.approx(0, abs=1e-5)
    still = pixel_grid(64, 64, driving)[None]
    assert float(landmark_flow_error(still, driving, source, weight)) == pytest.approx(0.07, abs=1e-5)
    assert float(landmark_flow_error(still, driving + 5, source, weight)) == 0  # outside the picture


def test_the_body_moves_as_what_surrounds_it_below_the_chin() -> None:
    grid = pixel_grid(64, 64, torch.zeros(1))
    label = (grid + torch.where(grid[..., 1:] > 0.5, torch.tensor([0.1, 0.05]), torch.tensor([-0.2, 0.2])))[None]
    trusted, chin, film = torch.ones(1, 64, 64, dtype=torch.bool), torch.tensor([0.5]), torch.tensor([True])
    driving = torch.tensor([[[-0.5, 0.8], [0.0, 0.6]]])
    moved = torch.stack([driving + torch.tensor([0.1, 0.05]), driving], 1)
    assert float(body_flow_error(moved, label, trusted, chin, film)) == pytest.approx(0, abs=1e-5)
    still = torch.stack([driving, driving], 1)
    assert float(body_flow_error(still, label, trusted, chin, film)) == pytest.approx(0.15, abs=1e-5)
    assert float(body_flow_error(still, label, trusted, chin, ~film)) == 0  # photos bend their shoulders with the face
    assert float(body_flow_error(still, label, ~trusted, chin, film)) == 0


def test_optical_flow_finds_a_shift_and_trusts_it() -> None:
    pytest.importorskip("cv2", reason="OpenCV is a training dependency")
    noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    source = F.interpolate(noise, size=(256, 256), mode="bicubic", align_corners=False).clamp(0, 1)
    driving = source.roll(4, 3)  # a driving pixel shows what lay four pixels to its left
    flow, trusted = optical_flow(source, driving)
    inner = (slice(None), slice(40, -40), slice(40, -40))
    gap = (flow - pixel_grid(256, 256, flow))[inner] * 128
    assert float(trusted[inner].float().mean()) > 0.9
    assert gap[trusted[inner]].mean(0).tolist() == pytest.approx([-4, 0], abs=0.3)
