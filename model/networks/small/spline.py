"""Pictures moved by thin-plate splines over keypoints (Bookstein 1989)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_STIFF = 0.005  # closed lips and lids put two keypoints in one place


class Spline:
    """Thin-plate splines from keypoints (..., K, 2) to others (..., K, 2), as many of each or of one of them one."""

    def __init__(self, points: Tensor, onto: Tensor) -> None:
        count = points.shape[-2]
        system = points.new_zeros(*points.shape[:-2], count + 3, count + 3)
        system[..., :count, :count] = self._bend(points, points) + _STIFF * torch.eye(count, device=points.device)
        system[..., :count, count] = 1
        system[..., :count, count + 1 :] = points
        system[..., count:, :count] = system[..., :count, count:].mT
        values = torch.cat([onto, onto.new_zeros(*onto.shape[:-2], 3, 2)], -2)
        # The least squares of points that lie in one line have no answer of their own; a little stiffness gives one.
        system[..., count:, count:] -= 1e-6 * torch.eye(3, device=points.device)
        self._points, self._weights = points, torch.linalg.solve(system, values)

    def at(self, place: Tensor) -> Tensor:
        """Where places (..., N, 2) come from, (..., N, 2)."""
        known = torch.cat([self._bend(place, self._points), torch.ones_like(place[..., :1]), place], -1)
        places: Tensor = known @ self._weights
        return places

    @staticmethod
    def _bend(a: Tensor, b: Tensor) -> Tensor:
        across, down = (a[..., :, None, axis] - b[..., None, :, axis] for axis in (0, 1))
        square = across.square_() + down.square_()
        return torch.log(square + 1e-6).mul_(square)


def sample(picture: Tensor, place: Tensor) -> Tensor:
    """Colours (3, N) of a picture (1, 3, W, W) at places (N, 2) from -1 to 1."""
    found = F.grid_sample(picture, place[None, None], mode="bicubic", padding_mode="border", align_corners=False)
    return found[0, :, 0]
