"""Dense motion asked of for one frame of several: between two runs the flow follows the keypoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import KeypointTransforms, enlarged_flow, surface_flow
from model.networks.small_config import SMALL
from model.registration.keypoints import SurfaceMotion
from model.registration.surface import EVERY, NEAR, FollowedSurface

K, G = SMALL.keypoints, 64


class Network:
    """Dense motion whose masks are what they are, wherever keypoints go; counts how often it runs."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.canonical = CanonicalKeypoints(torch.rand(1, K, 3, generator=random) - 0.5)
        self.source = moved(0.0)
        self.masks = (3 * torch.randn(1, K + 1, G, G, generator=random)).softmax(1)
        self.runs = 0

    def keypoints(self, driving: Motion) -> KeypointTransforms:
        return KeypointTransforms.of(self.canonical, self.source, driving, SMALL.layout)

    def __call__(self, driving: Motion, keypoints: KeypointTransforms) -> tuple[Tensor, Tensor]:
        self.runs += 1
        grid = pixel_grid(G, G, self.masks)
        flow = surface_flow(self.masks, grid, keypoints) + enlarged_flow(driving.residual_flow, G)
        return flow.permute(0, 3, 1, 2), self.masks


def asked(surface: SurfaceMotion, network: Network, driving: Motion) -> tuple[Tensor, Tensor]:
    return surface(driving, network.keypoints(driving))


def moved(x: float, yaw: float = 0.0) -> Motion:
    zero = torch.zeros(1)
    motion = Motion(zero + yaw, zero, zero, torch.tensor([[x, 0.0, 0.0]]), zero + 1, torch.zeros(1, K, 3))
    return replace(motion, residual_flow=torch.full((1, RESIDUAL_FLOW_PLACES, 2), x / 2))


@pytest.mark.parametrize(("x", "yaw"), [(0.01, 0.0), (-0.02, 1.0)])
def test_a_flow_follows_the_keypoints_without_the_network(x: float, yaw: float) -> None:
    network = Network()
    followed = FollowedSurface(network, SMALL.layout)
    asked(followed, network, moved(0.005))
    flow, masks = asked(followed, network, moved(x, yaw))
    assert network.runs == 1
    expected, _ = asked(network, network, moved(x, yaw))
    torch.testing.assert_close(flow, expected, atol=1e-5, rtol=0)
    assert masks is network.masks


def test_the_network_runs_for_one_frame_of_four() -> None:
    network = Network()
    followed = FollowedSurface(network, SMALL.layout)
    for index in range(2 * EVERY):
        asked(followed, network, moved(0.003 * index))
    assert network.runs == 2


def test_the_network_runs_where_a_head_has_gone_far() -> None:
    network = Network()
    followed = FollowedSurface(network, SMALL.layout)
    for index in range(3):
        asked(followed, network, moved(2 * NEAR * index))
    assert network.runs == 3
