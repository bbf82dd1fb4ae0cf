"""How a network moves a source image, asked of it for one frame of several.

Running dense motion is half of what aligning a frame costs, and from one frame to the next its masks hardly change. So
between two runs they stand still, and the flow changes by what the keypoints' own maps change, which is exact for
masks that do.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model.keypoint_layout import KeypointLayout
from model.motion import Motion
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import KeypointTransforms, enlarged_flow, surface_flow
from model.registration.keypoints import SurfaceMotion

EVERY = 4
"""Of so many frames the network runs for one."""

NEAR = 0.04
"""Crop units, five pixels of 256: beyond it a keypoint of the head has gone too far for masks that stand still."""


@dataclass(frozen=True)
class _Run:
    """What the network said last."""

    driving: Tensor  # (B, K, 3) where keypoints were
    masks: Tensor  # (B, K + 1, G, G)
    beside: Tensor  # (B, G, G, 2) of the flow what neither keypoints nor residual flow explain


class FollowedSurface:
    """A `SurfaceMotion` for frames in order, whose network runs for one of four or where a head moves fast."""

    def __init__(self, surface_motion: SurfaceMotion, layout: KeypointLayout) -> None:
        self._surface_motion, self._layout = surface_motion, layout
        self._run: _Run | None = None
        self._since = 0  # frames since

    def __call__(self, driving: Motion, keypoints: KeypointTransforms) -> tuple[Tensor, Tensor]:
        """Flow (B, 2, G, G), source coordinates of driving pixels, and masks (B, K + 1, G, G), background first."""
        run = self._run
        self._since += 1
        if run is not None and self._since < EVERY and self._is_near(run, keypoints):
            flow = run.beside + _explained(driving, keypoints, run.masks)
            return flow.permute(0, 3, 1, 2), run.masks
        flow, masks = self._surface_motion(driving, keypoints)
        beside = flow.permute(0, 2, 3, 1) - _explained(driving, keypoints, masks)
        self._run, self._since = _Run(keypoints.driving, masks, beside), 0
        return flow, masks

    def _is_near(self, run: _Run, keypoints: KeypointTransforms) -> bool:
        moved = (keypoints.driving - run.driving)[:, self._layout.head, :2]
        return bool(moved.abs().amax() < NEAR)


def _explained(driving: Motion, keypoints: KeypointTransforms, masks: Tensor) -> Tensor:
    """Flow (B, G, G, 2) as keypoints and residual flow of a motion have it, where masks are given."""
    grid = pixel_grid(masks.shape[2], masks.shape[3], masks)
    return surface_flow(masks, grid, keypoints) + enlarged_flow(driving.residual_flow, len(grid))
