"""The six losses of face-vid2vid with the paper's weights.

Pure functions of tensors; each returns one scalar, the mean over the batch. Source: arXiv 2011.15126, section 3.3 and
its appendix on losses. Frames are (B, 3, S, S) RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import Motion
from model.networks.discriminator import Judgement
from model.train.transform import RandomTransform

Features = Callable[[Tensor], Sequence[Tensor]]
"""A frozen perceptual network: frames (B, 3, S, S) in [0, 1] to the activations of its layers, shallow to deep."""

LAYER_WEIGHTS = (0.03125, 0.0625, 0.125, 0.25, 1.0)
"""Of VGG's relu_1_1, relu_2_1, relu_3_1, relu_4_1 and relu_5_1 in the perceptual loss, from the paper's appendix."""


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms in the generator's objective; the defaults are the paper's."""

    perceptual: float = 10.0  # L_P
    gan: float = 1.0  # L_G, hinge
    feature_matching: float = 10.0  # goes with L_G; the paper names no factor, 10 is pix2pixHD's (arXiv 1711.11585)
    equivariance: float = 20.0  # L_E
    keypoint_prior: float = 10.0  # L_L
    head_pose: float = 20.0  # L_H, on degrees
    deformation: float = 5.0  # L_Delta

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of `terms`, named like the fields; raises KeyError for a name that is none of them."""
        weights = asdict(self)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def perceptual_loss(
    prediction: Tensor,
    target: Tensor,
    features: Features,
    levels: int = 3,
    layer_weights: Sequence[float] = LAYER_WEIGHTS,
) -> Tensor:
    """L_P = sum over levels l and layers i of w_i mean |phi_i(d_l) - phi_i(y_l)|.

    Level l is both frames reduced by 2^l. `features` must give one activation per layer weight; no gradient flows
    into `target`. Raises ValueError when the number of layers differs.
    """
    total = prediction.new_zeros(())
    for level in range(levels):
        if level:
            prediction, target = F.avg_pool2d(prediction, 2), F.avg_pool2d(target, 2)
        with torch.no_grad():
            wanted = features(target)
        for weight, a, b in zip(layer_weights, features(prediction), wanted, strict=True):
            total = total + weight * F.l1_loss(a, b)
    return total


def discriminator_hinge(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean over scales of E max(0, 1 - D(real)) + E max(0, 1 + D(fake)); the discriminator's objective."""
    terms = [
        F.relu(1 - r.scores).mean() + F.relu(1 + f.scores).mean()  # (B, 1, h, w) -> ()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def generator_hinge(fake: Sequence[Judgement]) -> Tensor:
    """L_G = -E D(fake), mean over scales; may be negative."""
    return -torch.stack([judgement.scores.mean() for judgement in fake]).mean()


def feature_matching(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean |D_i(real) - D_i(fake)| over the layers i and the scales of the discriminator; arXiv 1711.11585 eq. 4."""
    terms = [
        F.l1_loss(b, a.detach())
        for r, f in zip(real, fake, strict=True)
        for a, b in zip(r.features, f.features, strict=True)
    ]
    return torch.stack(terms).mean()


def equivariance_loss(points: Tensor, warped_points: Tensor, transform: RandomTransform) -> Tensor:
    """L_E = || x_d - T(x_T(d)) ||_1 on projected keypoints, the mean of the absolute components.

    `points` (B, K, 3) of frame d and `warped_points` (B, K, 3) of `transform.frame(d)`. The paper drops z by
    orthographic projection, since T moves the picture alone.
    """
    return F.l1_loss(transform(warped_points[..., :2]), points[..., :2])


def jacobian_equivariance_loss(
    jacobians: Tensor, warped_jacobians: Tensor, warped_points: Tensor, transform: RandomTransform
) -> Tensor:
    """|| 1 - J_d^-1 (dT/dp) J_T(d) ||_1 on the upper left 2x2 blocks; arXiv 2003.00196 eq. 11, for learned Jacobians.

    `jacobians` (B, K, 3, 3) of frame d, `warped_jacobians` and `warped_points` (B, K, 3) of `transform.frame(d)`.
    """
    local = transform.jacobian(warped_points[..., :2]) @ warped_jacobians[..., :2, :2]  # (B, K, 2, 2)
    ratio = torch.linalg.inv_ex(jacobians[..., :2, :2].float())[0] @ local.float()  # (B, K, 2, 2)
    return F.l1_loss(ratio, torch.eye(2, device=ratio.device).expand_as(ratio))


def keypoint_prior(points: Tensor, distance: float = 0.1, depth: float = 0.33) -> Tensor:
    """L_L = sum over i != j of max(0, D_t - ||x_i - x_j||^2) + |mean z - z_t|: spread out, at one depth.

    `points` (B, K, 3) of the driving frame in crop units; `distance` D_t and `depth` z_t are the paper's. Each pair
    counts twice, as in the paper's double sum, and a point with itself not at all, since that is a constant.
    """
    square = (points.unsqueeze(2) - points.unsqueeze(1)).square().sum(-1)  # (B, K, K)
    crowding = F.relu(distance - square)  # (B, K, K)
    own = torch.diagonal(crowding, dim1=1, dim2=2).sum(-1)  # (B,): K D_t
    away = (points[..., 2].mean(-1) - depth).abs()  # (B,)
    return (crowding.sum((1, 2)) - own + away).mean()


def head_pose_loss(motion: Motion, teacher: Motion) -> Tensor:
    """L_H = |yaw - yaw'| + |pitch - pitch'| + |roll - roll'| in degrees, against a teacher; angles of shape (B,)."""
    gaps = [
        (motion.yaw - teacher.yaw).abs(),
        (motion.pitch - teacher.pitch).abs(),
        (motion.roll - teacher.roll).abs(),
    ]
    return torch.stack(gaps).sum(0).mean()


def deformation_prior(expression: Tensor) -> Tensor:
    """L_Delta = || delta ||_1 of each keypoint, mean over keypoints; `expression` (B, K, 3)."""
    return expression.abs().sum(-1).mean()
