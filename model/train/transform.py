"""Random warps of a frame whose effect on keypoints is known: what the equivariance loss needs.

A near-identity affine map plus a thin-plate spline, as in the first-order motion model (arXiv 2003.00196, section 3.3
and its appendix), which arXiv 2011.15126 takes over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.grid import pixel_grid


@dataclass(frozen=True)
class RandomTransform:
    """T(p) = A p + b + sum_i c_i U(|p - q_i|) with U(r) = r^2 log r^2, in crop units; a batch of B such maps."""

    affine: Tensor  # (B, 2, 3) = [A | b]
    control: Tensor  # (P, 2) control points q_i
    weights: Tensor  # (B, P, 2) spline weights c_i

    @staticmethod
    def sample(
        batch: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        sigma_affine: float = 0.05,
        sigma_spline: float = 0.005,
        points: int = 5,
    ) -> RandomTransform:
        """Draw `batch` maps with `points`^2 control points; the default deviations are the first-order model's.

        `generator` lives on the CPU, so that a run draws the same maps on every device.
        """
        affine = torch.eye(2, 3) + sigma_affine * torch.randn(batch, 2, 3, generator=generator)
        weights = sigma_spline * torch.randn(batch, points**2, 2, generator=generator)
        lines = torch.linspace(-1, 1, points)
        control = torch.cartesian_prod(lines, lines)
        return RandomTransform(affine.to(device), control.to(device), weights.to(device))

    def __call__(self, points: Tensor) -> Tensor:
        """T of `points` (B, N, 2) or (1, N, 2); returns (B, N, 2)."""
        linear, offset = self.affine[..., :2], self.affine[..., 2]
        return points @ linear.mT + offset[:, None] + self._spline(points)

    def _spline(self, points: Tensor) -> Tensor:
        bend: Tensor = _kernel(self._square(points)) @ self.weights  # (B, N, P) @ (B, P, 2) -> (B, N, 2)
        return bend

    def _square(self, points: Tensor) -> Tensor:
        return (points.unsqueeze(-2) - self.control).square().sum(-1)  # (B, N, P)

    def jacobian(self, points: Tensor) -> Tensor:
        """dT/dp at `points` (B, N, 2); returns (B, N, 2, 2), rows for the components of T."""
        gap = points.unsqueeze(-2) - self.control  # (B, N, P, 2)
        slope = 2 * gap * (_log(self._square(points)) + 1).unsqueeze(-1)  # (B, N, P, 2): dU/dp
        return self.affine[:, None, :, :2] + torch.einsum("bpi,bnpj->bnij", self.weights, slope)

    def frame(self, frame: Tensor) -> Tensor:
        """Warp `frame` (B, 3, H, W): the result at p shows the frame at T(p), so what was at x is now at T^-1(x)."""
        height, width = frame.shape[-2:]
        grid = pixel_grid(height, width, frame).reshape(1, -1, 2)  # (1, H W, 2)
        positions = self(grid).reshape(-1, height, width, 2)  # (B, H, W, 2)
        return F.grid_sample(frame, positions, padding_mode="reflection", align_corners=False)


def _log(square: Tensor) -> Tensor:
    return square.clamp_min(1e-12).log()


def _kernel(square: Tensor) -> Tensor:
    return square * _log(square)  # r^2 log r^2, which is 0 at r = 0
