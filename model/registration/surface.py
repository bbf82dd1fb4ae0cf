"""How a network moves a source image, asked of it for every other frame.

Running dense motion is half of what aligning a frame costs, and from one frame to the next its masks hardly change. So
between two runs they stand still, and the flow changes by what the keypoints' own maps change, which is exact for
masks that do.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import KeypointTransforms, enlarged_flow, surface_flow
from model.registration.keypoints import SurfaceMotion

NEAR = 0.04
"""Crop units, five pixels of 256: beyond it a keypoint of the head has gone too far for masks that stand still."""


@dataclass(frozen=True)
class _Run:
    """What the network said last, and of which motion."""

    keypoints: KeypointTransforms
    residual_flow: Tensor  # (B, 64, 2)
    flow: Tensor  # (B, 2, G, G)
    masks: Tensor  # (B, K + 1, G, G)


class FollowedSurface:
    """A `SurfaceMotion` for frames in order, whose network runs for every other one or where a head moves fast."""

    def __init__(
        self, surface_motion: SurfaceMotion, canonical: CanonicalKeypoints, source: Motion, layout: KeypointLayout
    ) -> None:
        """Canonical keypoints and motion of the source images, batch shape B."""
        self._surface_motion, self._canonical, self._source, self._layout = surface_motion, canonical, source, layout
        self._run: _Run | None = None

    def __call__(self, driving: Motion) -> tuple[Tensor, Tensor]:
        """Flow (B, 2, G, G), source coordinates of driving pixels, and masks (B, K + 1, G, G), background first."""
        keypoints = KeypointTransforms.of(self._canonical, self._source, driving, self._layout)
        run, self._run = self._run, None
        if run is not None and self._is_near(run, keypoints):
            grid = pixel_grid(run.flow.shape[2], run.flow.shape[3], run.flow)
            change = surface_flow(run.masks, grid, keypoints) - surface_flow(run.masks, grid, run.keypoints)
            change = change + enlarged_flow(driving.residual_flow - run.residual_flow, len(grid))
            return run.flow + change.permute(0, 3, 1, 2), run.masks
        flow, masks = self._surface_motion(driving)
        self._run = _Run(keypoints, driving.residual_flow, flow, masks)
        return flow, masks

    def _is_near(self, run: _Run, keypoints: KeypointTransforms) -> bool:
        moved = (keypoints.driving - run.keypoints.driving)[:, self._layout.head, :2]
        return bool(moved.abs().amax() < NEAR)
