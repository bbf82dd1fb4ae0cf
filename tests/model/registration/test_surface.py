"""Dense motion asked of for every other frame: between two runs the flow follows the keypoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import KeypointTransforms, enlarged_flow, surface_flow
from model.networks.small_config import SMALL
from model.registration.surface import NEAR, FollowedSurface

K, G = SMALL.keypoints, 64


class Network:
    """Dense motion whose masks are what they are, wherever keypoints go; counts how often it runs."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.canonical = CanonicalKeypoints(torch.rand(1, K, 3, generator=random) - 0.5)
        self.source = moved(0.0)
        self.masks = (3 * torch.randn(1, K + 1, G, G, generator=random)).softmax(1)
        self.runs = 0

    def __call__(self, driving: Motion) -> tuple[Tensor, Tensor]:
        self.runs += 1
        grid = pixel_grid(G, G, self.masks)
        keypoints = KeypointTransforms.of(self.canonical, self.source, driving, SMALL.layout)
        flow = surface_flow(self.masks, grid, keypoints) + enlarged_flow(driving.residual_flow, G)
        return flow.permute(0, 3, 1, 2), self.masks


def moved(x: float, yaw: float = 0.0) -> Motion:
    zero = torch.zeros(1)
    motion = Motion(zero + yaw, zero, zero, torch.tensor([[x, 0.0, 0.0]]), zero + 1, torch.zeros(1, K, 3))
    return replace(motion, residual_flow=torch.full((1, RESIDUAL_FLOW_PLACES, 2), x / 2))


@pytest.mark.parametrize(("x", "yaw"), [(0.01, 0.0), (-0.02, 1.0)])
def test_a_flow_follows_the_keypoints_without_the_network(x: float, yaw: float) -> None:
    network = Network()
    followed = FollowedSurface(network, network.canonical, network.source, SMALL.layout)
    followed(moved(0.005))
    flow, masks = followed(moved(x, yaw))
    assert network.runs == 1
    expected, _ = network(moved(x, yaw))
    torch.testing.assert_close(flow, expected, atol=1e-5, rtol=0)
    assert masks is network.masks


def test_the_network_runs_for_every_other_frame() -> None:
    network = Network()
    followed = FollowedSurface(network, network.canonical, network.source, SMALL.layout)
    for index in range(6):
        followed(moved(0.003 * index))
    assert network.runs == 3


def test_the_network_runs_where_a_head_has_gone_far() -> None:
    network = Network()
    followed = FollowedSurface(network, network.canonical, network.source, SMALL.layout)
    for index in range(3):
        followed(moved(2 * NEAR * index))
    assert network.runs == 3
