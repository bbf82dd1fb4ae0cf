"""The published networks: every intermediate shape, the geometry of the flow, and that all of it can learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.motion import CanonicalKeypoints, Motion, View, apply_view, compose
from model.networks.appearance import AppearanceConfig
from model.networks.canonical import CanonicalConfig, mean_position
from model.networks.dense_motion import DenseMotionConfig, keypoint_flows, local_maps, warp_by_each
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import GeneratorConfig
from model.networks.grid import centres, gaussian_heatmaps, pixel_grid, voxel_grid
from model.networks.head_motion import HeadMotionConfig, expected_degrees
from model.networks.paper import Jacobians, PaperConfig, PaperNetworks
from model.networks.paper_config import PAPER, PAPER_512

TINY = PaperConfig(
    size=32,
    keypoints=4,
    channels=3,
    depth=5,
    appearance=AppearanceConfig(widths=(4, 6, 8), residual_blocks=1),
    canonical=CanonicalConfig(image_size=16, widths=(4, 6, 8), outputs=5, kernel=3),
    head_motion=HeadMotionConfig(image_size=32, stem=4, widths=(8, 8, 12, 16), blocks=(1, 2, 1, 1), bins=66),
    dense_motion=DenseMotionConfig(compressed=2, widths=(4, 6, 8), outputs=5, kernel=3),
    generator=GeneratorConfig(widths=(8, 6, 4), residual_blocks=1),
    discriminator=DiscriminatorConfig(widths=(4, 6, 8), scales=2),
)
"""The paper's structure at widths that a CPU runs in milliseconds."""


def enrolled(
    networks: PaperNetworks, image: torch.Tensor
) -> tuple[dict[str, torch.Tensor], CanonicalKeypoints, Motion]:
    canonical, motion = networks.canonical(image), networks.motion(image)
    return networks.appearance(image, canonical, motion), canonical, motion


def tiny(jacobians: Jacobians = "rotation", seed: int = 0, scale: bool = False) -> PaperNetworks:
    torch.manual_seed(seed)
    return PaperNetworks(replace(TINY, jacobians=jacobians, head_motion=replace(TINY.head_motion, scale=scale)))


def random_motion(seed: int, batch: int = 3, keypoints: int = 4) -> Motion:
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    return Motion(
        yaw=uniform(-30, 30),
        pitch=uniform(-20, 20),
        roll=uniform(-20, 20),
        translation=uniform(-0.2, 0.2, 3),
        scale=uniform(0.8, 1.25),
        expression=uniform(-0.05, 0.05, keypoints, 3),
    )


def random_canonical(seed: int, batch: int = 3, keypoints: int = 4) -> CanonicalKeypoints:
    return CanonicalKeypoints(torch.rand(batch, keypoints, 3, generator=torch.Generator().manual_seed(seed)) - 0.5)


# The published shapes, on tensors without numbers


def shapes_of(module: nn.Module, *inputs: Any) -> dict[str, tuple[int, ...]]:
    """Output shape of every submodule that returns a tensor, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        return hook

    handles = [child.register_forward_hook(note(name)) for name, child in module.named_modules() if name]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def published(config: PaperConfig, batch: int = 2) -> tuple[PaperNetworks, Tensor]:
    with torch.device("meta"):
        return PaperNetworks(config).eval(), torch.empty(batch, 3, config.size, config.size)


def assert_shapes(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    assert {name: shapes.get(name) for name in expected} == expected


def test_appearance_shapes() -> None:
    networks, image = published(PAPER)
    shapes = shapes_of(networks.appearance_extractor, image)
    expected: dict[str, tuple[int, ...]] = {
        "stem": (2, 64, 256, 256),
        "down.0.0": (2, 128, 256, 256),
        "down.0": (2, 128, 128, 128),
        "down.1.0": (2, 256, 128, 128),
        "down.1": (2, 256, 64, 64),
        "lift": (2, 512, 64, 64),
        **{f"volume.{i}": (2, 32, 16, 64, 64) for i in range(6)},
    }
    assert_shapes(shapes, expected)
    features = networks.appearance(image, networks.canonical(image), networks.motion(image))
    assert features["volume"].shape == (2, 32, 16, 64, 64)


def test_appearance_shapes_at_512() -> None:
    networks, image = published(PAPER_512)
    shapes = shapes_of(networks.appearance_extractor, image)
    expected: dict[str, tuple[int, ...]] = {
        "stem": (2, 64, 512, 512),
        "down.0": (2, 128, 256, 256),
        "down.1": (2, 256, 128, 128),
        "down.2": (2, 512, 64, 64),
        "lift": (2, 512, 64, 64),
        "volume": (2, 32, 16, 64, 64),
    }
    assert_shapes(shapes, expected)


@pytest.mark.parametrize("config", [PAPER, PAPER_512])
def test_canonical_shapes(config: PaperConfig) -> None:
    networks, image = published(replace(config, jacobians="learned"))
    shapes = shapes_of(networks.canonical_detector, image)
    expected: dict[str, tuple[int, ...]] = {
        "down.0": (2, 64, 32, 32),
        "down.1": (2, 128, 16, 16),
        "down.2": (2, 256, 8, 8),
        "down.3": (2, 512, 4, 4),
        "down.4": (2, 1024, 2, 2),
        "lift": (2, 16384, 2, 2),
        "up.0": (2, 512, 16, 4, 4),
        "up.1": (2, 256, 16, 8, 8),
        "up.2": (2, 128, 16, 16, 16),
        "up.3": (2, 64, 16, 32, 32),
        "up.4": (2, 32, 16, 64, 64),
        "scores": (2, 20, 16, 64, 64),
        "jacobians": (2, 180, 16, 64, 64),
    }
    assert_shapes(shapes, expected)
    canonical = networks.canonical(image)
    assert canonical.points.shape == (2, 20, 3)
    assert canonical.jacobians is not None
    assert canonical.jacobians.shape == (2, 20, 3, 3)
    plain, _ = published(config)
    assert plain.canonical(image).jacobians is None


@pytest.mark.parametrize("config", [PAPER, PAPER_512])
def test_head_motion_shapes(config: PaperConfig) -> None:
    networks, image = published(config)
    shapes = shapes_of(networks.head_motion_estimator, image)
    expected: dict[str, tuple[int, ...]] = {
        "stem.0": (2, 64, 128, 128),
        "stem": (2, 64, 64, 64),
        "stages.0.0": (2, 256, 64, 64),
        **{f"stages.0.{i}": (2, 256, 64, 64) for i in (1, 2, 3)},
        "stages.1.0": (2, 512, 64, 64),
        **{f"stages.1.{i}": (2, 512, 32, 32) for i in (1, 2, 3, 4)},
        "stages.2.0": (2, 1024, 32, 32),
        **{f"stages.2.{i}": (2, 1024, 16, 16) for i in (1, 2, 3, 4, 5, 6)},
        "stages.3.0": (2, 2048, 16, 16),
        **{f"stages.3.{i}": (2, 2048, 8, 8) for i in (1, 2, 3)},
        "yaw": (2, 66),
        "pitch": (2, 66),
        "roll": (2, 66),
        "translation": (2, 3),
        "expression": (2, 60),
    }
    assert_shapes(shapes, expected)
    assert [len(stage) - 1 for stage in networks.head_motion_estimator.stages if isinstance(stage, nn.Sequential)] == [
        3,
        4,
        6,
        3,
    ]
    motion = networks.motion(image)
    assert motion.yaw.shape == motion.pitch.shape == motion.roll.shape == motion.scale.shape == (2,)
    assert motion.translation.shape == (2, 3)
    assert motion.expression.shape == (2, 20, 3)


@pytest.mark.parametrize("config", [PAPER, PAPER_512])
def test_dense_motion_shapes(config: PaperConfig) -> None:
    networks, _ = published(config)
    points = torch.empty(2, 20, 3, device="meta")
    arguments = (torch.empty(2, 32, 16, 64, 64, device="meta"), points, points, torch.empty(2, 20, 3, 3, device="meta"))
    shapes = shapes_of(networks.dense_motion_network, *arguments)
    expected: dict[str, tuple[int, ...]] = {
        "compress": (2, 4, 16, 64, 64),
        "hourglass.down.0": (2, 64, 16, 32, 32),  # from 21 * (4 + 1) = 105 channels
        "hourglass.down.1": (2, 128, 16, 16, 16),
        "hourglass.down.2": (2, 256, 16, 8, 8),
        "hourglass.down.3": (2, 512, 16, 4, 4),
        "hourglass.down.4": (2, 1024, 16, 2, 2),
        "hourglass.up.0": (2, 512, 16, 4, 4),
        "hourglass.up.1": (2, 256, 16, 8, 8),
        "hourglass.up.2": (2, 128, 16, 16, 16),
        "hourglass.up.3": (2, 64, 16, 32, 32),
        "hourglass.up.4": (2, 32, 16, 64, 64),
        "hourglass": (2, 137, 16, 64, 64),
        "mask": (2, 21, 16, 64, 64),
        "occlusion": (2, 1, 64, 64),
    }
    assert_shapes(shapes, expected)
    field = networks.dense_motion_network(*arguments)
    assert field.flow.shape == (2, 16, 64, 64, 3)
    assert field.mask.shape == (2, 21, 16, 64, 64)
    assert field.occlusion.shape == (2, 1, 64, 64)


@pytest.mark.parametrize(
    ("config", "ups"),
    [
        (PAPER, {"up.0": (2, 128, 128, 128), "up.1": (2, 64, 256, 256)}),
        (PAPER_512, {"up.0": (2, 128, 128, 128), "up.1": (2, 64, 256, 256), "up.2": (2, 32, 512, 512)}),
    ],
)
def test_generator_shapes(config: PaperConfig, ups: dict[str, tuple[int, ...]]) -> None:
    networks, _ = published(config)
    volume = torch.empty(2, 32, 16, 64, 64, device="meta")
    flow, occlusion = torch.empty(2, 16, 64, 64, 3, device="meta"), torch.empty(2, 1, 64, 64, device="meta")
    shapes = shapes_of(networks.generator, volume, flow, occlusion)
    expected: dict[str, tuple[int, ...]] = {
        "project.0": (2, 256, 64, 64),  # from 32 * 16 = 512 channels
        "project.1": (2, 256, 64, 64),
        **{f"residual.{i}": (2, 256, 64, 64) for i in range(6)},
        **ups,
        "draw": (2, 3, config.size, config.size),
    }
    assert_shapes(shapes, expected)


@pytest.mark.parametrize("config", [PAPER, PAPER_512])
def test_whole_pipeline_shapes(config: PaperConfig) -> None:
    networks, image = published(config)
    with torch.no_grad():
        features, canonical, motion = enrolled(networks, image)
        rendered = networks.synthesise(features, canonical, motion, motion)
    assert config.volume_size == 64
    assert rendered.frame.shape == image.shape
    assert rendered.flow is not None
    assert rendered.flow.shape == (2, 64, 64, 2)
    assert rendered.occlusion is not None
    assert rendered.occlusion.shape == (2, 1, 64, 64)
    assert rendered.matte is None


@pytest.mark.parametrize(("config", "sizes"), [(PAPER, [256]), (PAPER_512, [512, 256])])
def test_discriminator_shapes(config: PaperConfig, sizes: list[int]) -> None:
    with torch.device("meta"):
        discriminator, frame = Discriminator(config.discriminator).eval(), torch.empty(2, 3, config.size, config.size)
    judgements = discriminator(frame)
    assert len(judgements) == len(sizes)
    for judgement, size in zip(judgements, sizes, strict=True):
        eighth = size // 8
        assert [tuple(feature.shape) for feature in judgement.features] == [
            (2, 64, size // 2, size // 2),
            (2, 128, size // 4, size // 4),
            (2, 256, eighth, eighth),
            (2, 512, eighth - 1, eighth - 1),
        ]
        assert judgement.scores.shape == (2, 1, eighth - 2, eighth - 2)


def test_weights_of_256_px_also_run_at_512_px_on_a_larger_volume() -> None:
    small, _ = published(PAPER)
    large, image = published(replace(PAPER, size=512))
    shapes = {name: value.shape for name, value in small.state_dict().items()}
    assert shapes == {name: value.shape for name, value in large.state_dict().items()}
    assert large.appearance(image, large.canonical(image), large.motion(image))["volume"].shape == (2, 32, 16, 128, 128)


def test_configurations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="double"):
        replace(PAPER, generator=GeneratorConfig(widths=(256, 128)))
    with pytest.raises(ValueError, match="192 px"):
        replace(PAPER, size=192)
    with pytest.raises(ValueError, match="48 px"):
        replace(PAPER, canonical=CanonicalConfig(image_size=48))


# Positions


def test_grids_are_pixel_centres_as_grid_sample_reads_them() -> None:
    like = torch.zeros(())
    torch.testing.assert_close(centres(4, like), torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    picture, volume = torch.rand(1, 2, 5, 7), torch.rand(1, 2, 3, 5, 7)
    same = F.grid_sample(picture, pixel_grid(5, 7, like)[None], align_corners=False)
    torch.testing.assert_close(same, picture)
    torch.testing.assert_close(F.grid_sample(volume, voxel_grid(3, 5, 7, like)[None], align_corners=False), volume)


def test_heatmaps_are_one_at_the_point_and_fall_with_distance() -> None:
    grid = voxel_grid(5, 5, 5, torch.zeros(()))
    heat = gaussian_heatmaps(grid[2, 1, 3].reshape(1, 1, 3), grid, 0.01)
    assert heat.shape == (1, 1, 5, 5, 5)
    assert float(heat[0, 0, 2, 1, 3]) == 1
    assert float(heat[0, 0, 2, 1, 4]) == pytest.approx(2.718281828 ** (-(0.4**2) / 0.02))


# The flow


@pytest.mark.parametrize("seed", range(5))
def test_learned_jacobians_of_identity_equal_the_rotation(seed: int) -> None:
    source, driving, canonical = random_motion(seed), random_motion(seed + 10), random_canonical(seed)
    identity = CanonicalKeypoints(canonical.points, torch.eye(3).expand(3, 4, 3, 3))
    rotation = local_maps(canonical, source, driving)
    torch.testing.assert_close(local_maps(identity, source, driving), rotation, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_learned_jacobians_of_one_person_cancel(seed: int) -> None:
    """R_s J_c (R_d J_c)^-1 = R_s R_d^-1: why version 3 of the paper could drop them."""
    source, driving, canonical = random_motion(seed), random_motion(seed + 10), random_canonical(seed)
    learned = CanonicalKeypoints(canonical.points, torch.eye(3) + 0.2 * torch.randn(3, 4, 3, 3))
    torch.testing.assert_close(
        local_maps(learned, source, driving), local_maps(canonical, source, driving), atol=1e-4, rtol=1e-4
    )


def test_profiles_with_and_without_jacobians_draw_the_same_frame() -> None:
    learned, plain = tiny("learned").eval(), tiny("rotation").eval()
    common = {k: v for k, v in learned.state_dict().items() if not k.startswith("canonical_detector.jacobians")}
    plain.load_state_dict(common)
    image, driving = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        frames = [n.synthesise(*enrolled(n, image), n.motion(driving)).frame for n in (learned, plain)]
    torch.testing.assert_close(frames[0], frames[1], atol=1e-5, rtol=1e-4)


def test_learned_jacobians_start_as_identity() -> None:
    canonical = tiny("learned").canonical(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(canonical.jacobians, torch.eye(3).expand(2, 4, 3, 3))


def test_each_flow_takes_its_driving_keypoint_to_its_source_keypoint() -> None:
    canonical, source, driving = random_canonical(1), random_motion(2), random_motion(3)
    x_s, x_d = compose(canonical, source), compose(canonical, driving)
    maps = local_maps(canonical, source, driving)
    for batch in range(3):
        grid = x_d[batch].reshape(4, 1, 1, 3)
        flows = keypoint_flows(grid, x_s[batch : batch + 1], x_d[batch : batch + 1], maps[batch : batch + 1])
        assert flows.shape == (1, 5, 4, 1, 1, 3)
        torch.testing.assert_close(flows[0, 0], grid)  # the background stays
        for k in range(4):
            torch.testing.assert_close(flows[0, k + 1, k, 0, 0], x_s[batch, k], atol=1e-6, rtol=1e-5)


def test_flow_of_a_rigid_head_carries_every_point_of_it() -> None:
    """Without expression, w_k is the head's own motion for all k: source position of each driving position."""
    still = torch.zeros(3, 1, 3)  # for any number of keypoints
    source, driving = replace(random_motion(4), expression=still), replace(random_motion(5), expression=still)
    canonical, anywhere = random_canonical(6), CanonicalKeypoints(torch.rand(3, 9, 3) - 0.5)
    here, there = compose(anywhere, driving), compose(anywhere, source)
    maps = local_maps(canonical, source, driving)
    for batch in range(3):
        one = slice(batch, batch + 1)
        flows = keypoint_flows(
            here[batch].reshape(9, 1, 1, 3),
            compose(canonical, source)[one],
            compose(canonical, driving)[one],
            maps[one],
        )
        for k in range(4):
            torch.testing.assert_close(flows[0, k + 1, :, 0, 0], there[batch], atol=1e-5, rtol=1e-4)


def test_warping_by_several_flows_at_once_equals_one_by_one() -> None:
    volume, flows = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 7, 4, 5, 6, 3) * 2 - 1
    warped = warp_by_each(volume, flows)
    assert warped.shape == (2, 7, 3, 4, 5, 6)
    for i in range(7):
        torch.testing.assert_close(warped[:, i], F.grid_sample(volume, flows[:, i], align_corners=False))


@pytest.mark.parametrize("jacobians", ["rotation", "learned"])
def test_flow_of_no_motion_is_the_identity(jacobians: Jacobians) -> None:
    networks = tiny(jacobians).eval()
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features, canonical, motion = enrolled(networks, image)
        rendered = networks.synthesise(features, canonical, motion, motion)
    assert rendered.flow is not None
    torch.testing.assert_close(rendered.flow, pixel_grid(8, 8, image).expand(2, 8, 8, 2), atol=1e-5, rtol=1e-4)


def test_masks_sum_to_one_and_occlusion_is_a_share() -> None:
    networks, canonical = tiny().eval(), random_canonical(0)
    source, driving = random_motion(1), random_motion(2)
    with torch.no_grad():
        field = networks.dense_motion_network(
            torch.rand(3, 3, 5, 8, 8),
            compose(canonical, source),
            compose(canonical, driving),
            local_maps(canonical, source, driving),
        )
    torch.testing.assert_close(field.mask.sum(1), torch.ones(3, 5, 8, 8))
    assert 0 < float(field.occlusion.min()) <= float(field.occlusion.max()) < 1


# Keypoints and motion


def test_degrees_are_the_bins_expectation() -> None:
    scores = torch.zeros(3, 66)
    scores[1, 0] = scores[2, 65] = 50.0
    torch.testing.assert_close(expected_degrees(scores), torch.tensor([0.0, -97.5, 97.5]), atol=1e-4, rtol=0)
    near = torch.full((1, 66), -50.0)
    near[0, 40] = near[0, 41] = 0.0
    assert float(expected_degrees(near)) == pytest.approx(3 * 40.5 - 97.5, abs=1e-4)


def test_positions_and_degrees_keep_full_precision_under_autocast() -> None:
    scores, heat = torch.randn(4, 66), torch.softmax(torch.randn(2, 3, 8 * 16 * 16), -1).reshape(2, 3, 8, 16, 16)
    degrees, points = expected_degrees(scores), mean_position(heat)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(expected_degrees(scores), degrees)
        torch.testing.assert_close(mean_position(heat), points)


def test_mean_position_is_the_expected_voxel_centre() -> None:
    heat = torch.softmax(torch.randn(2, 3, 4 * 5 * 6), -1).reshape(2, 3, 4, 5, 6)
    grid = voxel_grid(4, 5, 6, heat)
    torch.testing.assert_close(mean_position(heat), torch.einsum("bkdhw,dhwi->bki", heat, grid))


def test_keypoints_lie_in_the_crop_and_at_its_centre_without_an_opinion() -> None:
    networks = tiny()
    assert float(networks.canonical(torch.rand(2, 3, 32, 32)).points.detach().abs().max()) < 1
    nn.init.zeros_(networks.canonical_detector.scores.weight)
    torch.testing.assert_close(networks.canonical(torch.rand(2, 3, 32, 32)).points, torch.zeros(2, 4, 3))


def test_scale_is_one_unless_it_is_learned() -> None:
    image = torch.rand(3, 3, 32, 32)
    assert torch.equal(tiny().motion(image).scale, torch.ones(3))
    scale = tiny(scale=True).motion(image).scale
    assert bool((scale > 0).all())
    assert scale.requires_grad


def test_a_view_changes_the_frame_and_each_batch_element_stands_alone() -> None:
    networks = tiny().eval()
    image = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        features, canonical, motion = enrolled(networks, image)
        still = networks.synthesise(features, canonical, motion, motion).frame
        turned = networks.synthesise(features, canonical, motion, apply_view(motion, View(yaw=25))).frame
        alone = networks.synthesise(
            {"volume": features["volume"][1:2]}, CanonicalKeypoints(canonical.points[1:2]), motion[1:2], motion[1:2]
        ).frame
    assert not torch.allclose(still, turned)
    assert 0 <= float(still.min()) <= float(still.max()) <= 1
    torch.testing.assert_close(alone[0], still[1], atol=1e-5, rtol=1e-4)


# Learning


@pytest.mark.parametrize("jacobians", ["rotation", "learned"])
@pytest.mark.parametrize("scale", [False, True])
def test_gradients_reach_every_parameter(jacobians: Jacobians, scale: bool) -> None:
    networks = tiny(jacobians, scale=scale).train()
    source_image, driving_image = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    canonical = networks.canonical(source_image)
    source, driving = networks.motion(source_image), networks.motion(driving_image)
    rendered = networks.synthesise(networks.appearance(source_image, canonical, source), canonical, source, driving)
    loss = (rendered.frame * torch.rand_like(rendered.frame)).sum()
    if canonical.jacobians is not None:  # they cancel in the flow; the equivariance of Jacobians is what trains them
        loss = loss + (canonical.jacobians * torch.rand_like(canonical.jacobians)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    without = [
        name
        for name, p in networks.named_parameters()
        if p.grad is None or not bool(p.grad.isfinite().all() & p.grad.any())
    ]
    assert without == []


def test_discriminator_is_spectrally_normalised_and_learns() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(TINY.discriminator).train()
    frame = torch.rand(2, 3, 32, 32)
    for _ in range(20):  # each pass is one power iteration
        judgements = discriminator(frame)
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            largest = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert float(largest) == pytest.approx(1.0, abs=0.05)
    loss = torch.stack([judgement.scores.square().mean() for judgement in judgements]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in discriminator.named_parameters() if p.grad is None or not bool(p.grad.any())]
    # An instance normalisation takes away the bias before it, which is why those convolutions have none.
    assert without == []
