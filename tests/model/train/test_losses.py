"""Losses: values worked out by hand, zero at the optimum, and the random warp against its own definition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.motion import Motion
from model.networks.discriminator import Judgement
from model.train import losses
from model.train.transform import RandomTransform


def transform(seed: int, batch: int = 2, sigma: float = 1.0) -> RandomTransform:
    generator = torch.Generator().manual_seed(seed)
    return RandomTransform.sample(batch, generator, sigma_affine=0.05 * sigma, sigma_spline=0.005 * sigma)


def inverse(warp: RandomTransform, points: Tensor, iterations: int = 20) -> Tensor:
    """T^-1 of `points` (B, N, 2), by Newton's method from the affine part's inverse; they must be within T's reach."""
    linear, offset = warp.affine[..., :2], warp.affine[..., 2]
    x: Tensor = torch.linalg.solve(linear, (points - offset[:, None]).mT).mT  # (B, N, 2)
    for _ in range(iterations):
        x = x - torch.linalg.solve(warp.jacobian(x), (warp(x) - points).unsqueeze(-1)).squeeze(-1)
    return x


def pose(yaw: float, pitch: float, roll: float) -> Motion:
    one = torch.ones(2)
    return Motion(yaw * one, pitch * one, roll * one, torch.zeros(2, 3), one, torch.zeros(2, 4, 3))


def judgement(score: float, feature: float = 0.0) -> Judgement:
    return Judgement(
        torch.full((2, 1, 3, 3), score), (torch.full((2, 4, 6, 6), feature), torch.full((2, 8, 3, 3), feature))
    )


def test_weights_are_the_papers() -> None:
    weights = losses.LossWeights()
    assert (weights.perceptual, weights.gan, weights.equivariance) == (10, 1, 20)
    assert (weights.keypoint_prior, weights.head_pose, weights.deformation) == (10, 20, 5)


def test_total_is_the_weighted_sum_and_knows_its_terms() -> None:
    terms = {"perceptual": torch.tensor(2.0), "deformation": torch.tensor(3.0)}
    assert float(losses.LossWeights().total(terms)) == pytest.approx(35.0)
    with pytest.raises(KeyError):
        losses.LossWeights().total({"sharpness": torch.tensor(1.0)})


def test_perceptual_loss_weighs_layers_and_levels() -> None:
    def features(frame: Tensor) -> Sequence[Tensor]:
        return [frame, 2 * frame]

    a, b = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.25)
    # Two levels, each 0.5 * 0.25 + 1 * 0.5.
    assert float(losses.perceptual_loss(a, b, features, levels=2, layer_weights=(0.5, 1.0))) == pytest.approx(1.25)
    assert float(losses.perceptual_loss(a, a, features, layer_weights=(0.5, 1.0))) == 0
    with pytest.raises(ValueError, match="argument"):
        losses.perceptual_loss(a, b, features)


def test_perceptual_loss_sees_coarse_levels_and_trains_the_prediction_alone() -> None:
    sizes = []

    def features(frame: Tensor) -> Sequence[Tensor]:
        sizes.append(frame.shape[-1])
        return [frame**2]

    prediction, target = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    losses.perceptual_loss(prediction, target, features, layer_weights=(1.0,)).backward()  # type: ignore[no-untyped-call]
    assert sizes == [32, 32, 16, 16, 8, 8]
    assert prediction.grad is not None
    assert target.grad is None


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [(1.0, -1.0, 0.0), (2.0, -3.0, 0.0), (0.0, 0.0, 2.0), (-1.0, 1.0, 4.0), (0.5, -1.0, 0.5)],
)
def test_discriminator_hinge(real: float, fake: float, expected: float) -> None:
    value = losses.discriminator_hinge([judgement(real)] * 2, [judgement(fake)] * 2)
    assert float(value) == pytest.approx(expected)


def test_generator_hinge_falls_as_the_discriminator_is_fooled() -> None:
    assert float(losses.generator_hinge([judgement(3.0), judgement(1.0)])) == pytest.approx(-2.0)
    scores = torch.zeros(1, 1, 2, 2, requires_grad=True)
    losses.generator_hinge([Judgement(scores, ())]).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert bool((scores.grad < 0).all())  # a step against the gradient raises D(fake)


def test_feature_matching_is_a_mean_over_layers_and_zero_for_equals() -> None:
    assert float(losses.feature_matching([judgement(0, 1.0)], [judgement(0, 0.25)])) == pytest.approx(0.75)
    assert float(losses.feature_matching([judgement(1, 0.5)], [judgement(-1, 0.5)])) == 0


def test_keypoint_prior_by_hand() -> None:
    # Two points 0.2 apart: square 0.04 is 0.06 short of D_t, counted in both directions; mean depth 0.13 is 0.2 off.
    points = torch.tensor([[[0.0, 0.0, 0.13], [0.2, 0.0, 0.13]]])
    assert float(losses.keypoint_prior(points)) == pytest.approx(2 * 0.06 + 0.2, abs=1e-6)
    apart = torch.tensor([[[-0.5, 0.0, 0.0], [0.5, 0.0, 0.66]]])
    assert float(losses.keypoint_prior(apart)) == pytest.approx(0.0, abs=1e-6)


def test_keypoint_prior_pushes_neighbours_apart() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.33], [0.1, 0.0, 0.33]]], requires_grad=True)
    losses.keypoint_prior(points).backward()  # type: ignore[no-untyped-call]
    assert points.grad is not None
    assert points.grad[0, 0, 0] > 0 > points.grad[0, 1, 0]


def test_head_pose_loss_adds_the_angles() -> None:
    assert float(losses.head_pose_loss(pose(10, -5, 2), pose(7, 1, 2.5))) == pytest.approx(9.5)
    assert float(losses.head_pose_loss(pose(10, -5, 2), pose(10, -5, 2))) == 0


def test_deformation_prior_by_hand() -> None:
    expression = torch.tensor([[[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]]])
    assert float(losses.deformation_prior(expression)) == pytest.approx(0.3)
    assert float(losses.deformation_prior(torch.zeros(2, 5, 3))) == 0


# The random warp


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_within_the_picture_the_warp_does_not_fold(seed: int) -> None:
    warp = transform(seed)
    points = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(seed + 1)) * 1.8 - 0.9
    torch.testing.assert_close(inverse(warp, warp(points)), points, atol=1e-5, rtol=0)


def test_warp_jacobian_is_the_derivative() -> None:
    warp = transform(3)
    points = (torch.rand(2, 7, 2) * 1.6 - 0.8).requires_grad_()
    moved = warp(points)
    for row in range(2):
        (slope,) = torch.autograd.grad(moved[..., row].sum(), points, retain_graph=True)
        torch.testing.assert_close(warp.jacobian(points)[..., row, :], slope, atol=1e-5, rtol=1e-4)


def test_warp_repeats_with_its_generator_and_differs_within_the_batch() -> None:
    first, second = transform(5), transform(5)
    assert torch.equal(first.affine, second.affine)
    assert torch.equal(first.weights, second.weights)
    assert not torch.equal(first.affine[0], first.affine[1])


def test_identity_warp_leaves_the_frame() -> None:
    frame = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(transform(0, sigma=0.0).frame(frame), frame, atol=1e-5, rtol=0)


def test_a_dot_in_the_frame_moves_to_the_inverse() -> None:
    """The picture moves as `equivariance_loss` says: what lies at x in d lies at T^-1(x) in T(d)."""
    size, warp = 128, transform(11, batch=1)
    centre = torch.tensor([[[0.3, -0.2]]])
    axis = (2 * torch.arange(size) + 1) / size - 1
    square = (axis[None, :] - centre[0, 0, 0]) ** 2 + (axis[:, None] - centre[0, 0, 1]) ** 2
    warped = warp.frame(torch.exp(-square / 0.005).expand(1, 3, -1, -1))[0, 0]
    mass = warped / warped.sum()
    found = torch.stack([(mass.sum(0) * axis).sum(), (mass.sum(1) * axis).sum()])
    expected = inverse(warp, centre)[0, 0]
    assert float((expected - centre[0, 0]).norm()) > 0.01  # the warp does something
    torch.testing.assert_close(found, expected, atol=3e-3, rtol=0)


def test_equivariance_is_zero_for_points_that_move_with_the_frame() -> None:
    warp = transform(7)
    points = torch.rand(2, 20, 3) - 0.5
    moved = torch.cat([inverse(warp, points[..., :2]), torch.rand(2, 20, 1)], -1)  # depth does not matter
    assert float(losses.equivariance_loss(points, moved, warp)) < 1e-5
    assert float(losses.equivariance_loss(points, points, warp)) > 1e-3


def test_equivariance_without_a_warp_is_the_l1_distance() -> None:
    points = torch.zeros(2, 4, 3)
    shifted = points + torch.tensor([0.2, -0.1, 5.0])
    assert float(losses.equivariance_loss(points, shifted, transform(0, sigma=0.0))) == pytest.approx(0.15)


def test_jacobian_equivariance_is_zero_when_maps_follow_the_warp() -> None:
    warp = transform(9)
    moved = torch.rand(2, 6, 3) - 0.5
    local = torch.eye(3).repeat(2, 6, 1, 1)
    local[..., :2, :2] += 0.1 * torch.rand(2, 6, 2, 2)
    there = local.clone()
    there[..., :2, :2] = torch.linalg.solve(warp.jacobian(moved[..., :2]), local[..., :2, :2])
    assert float(losses.jacobian_equivariance_loss(local, there, moved, warp)) < 1e-5
    assert float(losses.jacobian_equivariance_loss(local, 2 * there, moved, warp)) == pytest.approx(0.5, abs=1e-5)
