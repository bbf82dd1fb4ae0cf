"""The small profile: shapes, budget, and what an untrained network already does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from model.motion import CanonicalKeypoints, Motion, background_since, compose, turned_and_sized
from model.networks.grid import pixel_grid
from model.networks.small import SmallNetworks
from model.networks.small.blocks import fold_batch_norm, warp
from model.networks.small_config import BODY, FREE, GUIDED, MIRROR, SMALL


@pytest.fixture(scope="module")
def networks() -> SmallNetworks:
    torch.manual_seed(0)
    return SmallNetworks().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))


def enrolled(
    networks: SmallNetworks, image: torch.Tensor
) -> tuple[dict[str, torch.Tensor], CanonicalKeypoints, Motion]:
    canonical, motion = networks.canonical(image), networks.motion(image)
    return networks.appearance(image, canonical, motion), canonical, motion


def test_shapes_of_every_stage(networks: SmallNetworks, image: torch.Tensor) -> None:
    k = SMALL.keypoints
    canonical, motion = networks.canonical(image), networks.motion(image)
    features = networks.appearance(image, canonical, motion)
    assert {name: tuple(f.shape) for name, f in features.items()} == {
        "image": (2, 3, 256, 256),
        "half": (2, 16, 128, 128),
        "quarter": (2, 32, 64, 64),
        "eighth": (2, 64, 32, 32),
        "volume": (2, 12, 8, 32, 32),
        "person": (2, 1, 256, 256),
        "backdrop": (2, 3, 256, 256),
    }
    assert canonical.points.shape == (2, k, 3)
    assert canonical.jacobians is None
    assert motion.yaw.shape == motion.scale.shape == (2,)
    assert motion.translation.shape == (2, 3)
    assert motion.expression.shape == (2, k, 3)
    dense = networks.dense_motion(features, canonical, motion, motion)
    assert dense.volume_flow.shape == (2, 8, 32, 32, 3)
    assert dense.flow.shape == (2, 64, 64, 2)
    assert dense.occlusion.shape == (2, 2, 64, 64)
    rendered = networks.synthesise(features, canonical, motion, motion)
    assert rendered.frame.shape == (2, 3, 256, 256)
    assert rendered.matte is not None
    assert rendered.matte.shape == (2, 1, 256, 256)
    assert float(rendered.frame.min()) >= 0
    assert float(rendered.frame.max()) <= 1


def test_budget(networks: SmallNetworks, image: torch.Tensor) -> None:
    one = image[:1]
    features, canonical, motion = enrolled(networks, one)

    def gmac(call: object) -> float:
        with FlopCounterMode(display=False) as counter:
            call()  # type: ignore[operator]
        return float(counter.get_total_flops()) / 2e9

    assert gmac(lambda: networks.motion(one)) <= 0.15
    assert gmac(lambda: networks.synthesise(features, canonical, motion, motion)) <= 1.0


def test_untrained_network_shows_the_unmoved_source(networks: SmallNetworks, image: torch.Tensor) -> None:
    features, canonical, motion = enrolled(networks, image)
    rendered = networks.synthesise(features, canonical, motion, motion)
    assert torch.allclose(rendered.frame, image, atol=2e-2)


def test_flow_follows_a_moved_head(networks: SmallNetworks) -> None:
    # One keypoint cloud; the head moves by (0.2, -0.1), so a pixel on it reads 0.2 further left and 0.1 lower.
    points = 0.3 * torch.randn(1, SMALL.keypoints, 3, generator=torch.Generator().manual_seed(0))
    zero, one = torch.zeros(1), torch.ones(1)
    still = Motion(zero, zero, zero, torch.zeros(1, 3), one, torch.zeros(1, SMALL.keypoints, 3))
    moved = Motion(zero, zero, zero, torch.tensor([[0.2, -0.1, 0.0]]), one, still.expression)
    features, _, _ = enrolled(networks, torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)))
    flow = networks.dense_motion(features, CanonicalKeypoints(points), still, moved).flow
    grid = pixel_grid(64, 64, flow)
    gap = (flow[0] - grid)[32 - 3, 32 + 6]  # the pixel at the cloud's new centre
    assert gap.tolist() == pytest.approx([-0.2, 0.1], abs=0.02)
    corner = (flow[0] - grid)[63, 0]
    assert corner.tolist() == pytest.approx([0.0, 0.0], abs=0.02)  # the background stays


def test_the_body_is_where_it_is_seen_however_the_head_turns(networks: SmallNetworks, image: torch.Tensor) -> None:
    canonical, motion = networks.canonical(image), networks.motion(image)
    turned = replace(motion, yaw=motion.yaw + 30)
    here, there = (compose(canonical, m)[:, SMALL.layout.body] for m in (motion, turned))
    assert torch.allclose(here, there, atol=1e-5)
    assert torch.allclose(here[..., :2], torch.tensor(BODY).expand(2, -1, -1), atol=0.3)  # about where it began
    assert not here[..., 2].any()


def test_flow_follows_a_moved_body_without_turning_it(networks: SmallNetworks) -> None:
    heads = SMALL.layout.head_count
    points = 0.2 * torch.randn(1, heads, 3, generator=torch.Generator().manual_seed(0)) - torch.tensor([0, 0.5, 0])
    canonical = CanonicalKeypoints(F.pad(points, (0, 0, 0, SMALL.layout.body_count)))
    zero, one = torch.zeros(1), torch.ones(1)
    delta = torch.zeros(1, SMALL.keypoints, 3)
    delta[0, heads:, :2] = torch.tensor(BODY)
    still = Motion(zero, zero, zero, torch.zeros(1, 3), one, delta)
    shifted = delta.clone()
    shifted[0, heads:, 0] += 0.1
    driving = Motion(zero + 20, zero, zero, torch.zeros(1, 3), one, shifted)
    features, _, _ = enrolled(networks, torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)))
    motion = networks.dense_motion(features, canonical, still, driving)
    gap = (motion.flow - pixel_grid(64, 64, motion.flow))[0]
    row = round((1 + BODY[2][1]) * 32 - 0.5)
    assert gap[row, 32].tolist() == pytest.approx([-0.1, 0.0], abs=0.02)
    assert gap[row, 28].tolist() == pytest.approx(gap[row, 32].tolist(), abs=0.02)  # shifted, not turned

    # Shoulders that tilt by 4 degrees about one keypoint turn what is around them by as much.
    tilted = delta.clone()
    centre = delta[0, heads + 2, :2]
    arm = delta[0, heads:, :2] - centre
    none = torch.zeros(SMALL.layout.body_count)
    x, y = turned_and_sized(arm[:, 0], arm[:, 1], none, none + 4.0)
    tilted[0, heads:, :2] = torch.stack([x, y], -1) + centre
    motion = networks.dense_motion(features, canonical, still, replace(still, expression=tilted))
    gap = (motion.flow - pixel_grid(64, 64, motion.flow))[0]
    across = (gap[row, 40] - gap[row, 24]) / (pixel_grid(64, 64, motion.flow)[row, 40, 0] * 2)
    assert across[1].item() == pytest.approx(-np.sin(np.radians(4)), abs=0.02)


def test_flow_follows_a_moved_background_but_not_on_the_head(networks: SmallNetworks) -> None:
    points = 0.15 * torch.randn(1, SMALL.keypoints, 3, generator=torch.Generator().manual_seed(0))
    zero, one = torch.zeros(1), torch.ones(1)
    still = Motion(zero, zero, zero, torch.zeros(1, 3), one, torch.zeros(1, SMALL.keypoints, 3))
    moved = replace(still, background=torch.tensor([[0.1, -0.05, 0.02, 3.0]]))
    features, _, _ = enrolled(networks, torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)))
    motion = networks.dense_motion(features, CanonicalKeypoints(points), still, moved)
    gap = (motion.flow - pixel_grid(64, 64, motion.flow))[0]
    assert gap[32, 32].tolist() == pytest.approx([0.0, 0.0], abs=0.02)  # the head
    corner = (-1 + 1 / 64, -1 + 1 / 64)  # a background pixel; where it lies in the source and is then moved, is here
    back = background_since(np.zeros(4), np.array([0.1, -0.05, 0.02, 3.0]))
    wanted = np.array(turned_and_sized(*corner, back[2], back[3])) + back[:2] - corner
    assert gap[0, 0].tolist() == pytest.approx(wanted.tolist(), abs=0.02)
    deep = (motion.volume_flow[0, -1, 0, 0, :2] - pixel_grid(32, 32, motion.flow)[0, 0]).tolist()
    assert deep == pytest.approx(wanted.tolist(), abs=0.02)


def test_gradients_reach_every_parameter(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    networks = SmallNetworks().train()
    for parameter in networks.parameters():  # heads start at zero, which stops gradients; look past the start
        parameter.data += 0.01 * torch.randn_like(parameter)
    features, canonical, _ = enrolled(networks, image)
    source, driving = networks.motion(image), networks.motion(image.flip(0))
    loss = networks.synthesise(features, canonical, source, driving).frame.square().mean()
    torch.autograd.backward(loss)
    missing = [name for name, p in networks.named_parameters() if p.grad is None]
    assert [name for name in missing if not name.startswith("silhouette.")] == []  # it has labels of its own


def test_folding_batch_norm_changes_nothing(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    networks = SmallNetworks()
    networks.train()
    with torch.no_grad():
        networks.motion(image)  # running statistics away from their start
        networks.eval()
        before = networks.motion(image).to_vector()
        fold_batch_norm(networks)
        after = networks.motion(image).to_vector()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in networks.modules())
    assert after == pytest.approx(before, abs=1e-4)


def test_warp_with_the_identity_flow(image: torch.Tensor) -> None:
    flow = pixel_grid(256, 256, image).expand(2, -1, -1, -1)
    assert torch.allclose(warp(image, flow), image, atol=1e-4)


def test_profile_tables_agree() -> None:
    assert len(GUIDED) == len(set(GUIDED)) == len(MIRROR)
    assert len(GUIDED) + len(FREE) + len(BODY) == SMALL.keypoints
    assert len(BODY) == SMALL.layout.body_count
    assert [MIRROR[MIRROR[i]] for i in range(len(MIRROR))] == list(range(len(MIRROR)))
