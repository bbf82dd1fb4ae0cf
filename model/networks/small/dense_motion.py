"""M: dense motion between source and driving frame from their keypoints, with occlusion (section 3.2, eq. 4-5).

Every keypoint k moves its surroundings by w_k(p) = A (p - x_d,k) + x_s,k with the local map A = s_s/s_d R_s R_d^-1.
A is the same for all k, so the masked sum over the K flows and the background's identity is one matrix product,
    sum_k m_k w_k = (1 - m_0) A p + sum_k m_k (x_s,k - A x_d,k) + m_0 p,
and no K dense flows are ever stored. The body's keypoints do not turn with the head (`model.keypoint_layout`): their A
is the similarity in the picture that takes them from where they are to where they were. A background that moves
(`Motion.background`) comes from B p, not from p. The masks start as a soft nearest-keypoint kernel; the network adds to
its logits. What is left, the sender measures (`Motion.residual_flow`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.keypoint_layout import KeypointLayout
from model.motion import (
    RESIDUAL_FLOW_SIDE,
    CanonicalKeypoints,
    Motion,
    background_since,
    rotation_matrix,
    turned_and_sized,
)
from model.networks.grid import pixel_grid
from model.networks.small.blocks import ConvBlock, ResidualBlock, enlarge, exact, upsample, warp
from model.networks.small.window import Window
from model.networks.small_config import FEATURES, SmallConfig

_SURROUNDINGS = 0.05
"""Crop units, one sigma, over which flow is corrected around a keypoint of eyes, brows, nose or mouth."""

_CORRECTED = 0.75
"""Share of what is left at a keypoint that is corrected: with all of it faces look a little less like themselves."""


@dataclass(frozen=True)
class DenseMotion:
    """What the generator needs. G = 32 is the side of the volume; g and g' are G, or what a window has of it."""

    volume_flow: Tensor  # (B, D, g, g', 3) source coordinates of the cells of the driving volume, all in [-1, 1]
    flow: Tensor  # (B, 2G, 2G, 2) source coordinates of every driving pixel
    masks: Tensor  # (B, K + 1, 2G, 2G) to what each belongs, background first
    background: Tensor  # (B, 4) where the background comes from, `KeypointTransforms.background`
    occlusion: Tensor  # (B, 2, 2G, 2G) how far the warped skips (0) and the warped pixels (1) can be trusted, in [0, 1]
    hidden: Tensor  # (B, 64, g, g') the network's features
    hidden_fine: Tensor  # (B, 32, 2G, 2G)

    def behind(self, size: int) -> Tensor:
        """Source coordinates (B, size, size, 2) of the background, also where the person hides it."""
        return behind(self.background, pixel_grid(size, size, self.background))


class SmallDenseMotion(nn.Module):
    """Hourglass at G x G with a finer last stage at 2G x 2G."""

    planes: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        k, d = config.keypoints, config.depth
        _, quarter, eighth = config.skips
        self.depth, self.layout = d, config.layout
        self.register_buffer("planes", torch.linspace(*config.depth_range, d), persistent=False)
        self.kernel = nn.Parameter(torch.full((k,), -2.0 * math.log(0.12)))  # log 1 / sigma^2
        self.background = nn.Parameter(torch.tensor([-6.0, -6.0]))  # logit of the identity flow, in 3D and in 2D
        self.compress = nn.Conv2d(eighth, 24, 1)
        self.enter = ConvBlock(k + 24 + 2 + 24, 64)  # G
        self.down1 = nn.Sequential(ConvBlock(64, 96, 3, 2), ResidualBlock(96))  # G/2
        self.down2 = nn.Sequential(ConvBlock(96, 128, 3, 2), ConvBlock(128, 128))  # G/4
        self.up1 = ConvBlock(128 + 96, 64)  # G/2
        self.up2 = ConvBlock(64 + 64, 64)  # G
        self.mask3d = nn.Conv2d(64, (k + 1) * d, 1)
        self.fine = nn.Sequential(ConvBlock(64 + 2 * quarter, 32), ConvBlock(32, 32))  # 2G
        self.mask2d = nn.Conv2d(32, k + 1, 1)
        self.residual = nn.Conv2d(32, 2, 3, 1, 1)
        self.relief = nn.Conv2d(32, 1, 3, 1, 1)
        self.occlusion = nn.Conv2d(32, 2, 3, 1, 1)
        for head in (self.mask3d, self.mask2d, self.residual, self.relief, self.occlusion):
            nn.init.zeros_(head.weight)
            assert head.bias is not None
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.occlusion.bias, 2.0)  # type: ignore[arg-type]  # trust the source at first

    def forward(
        self,
        features: dict[str, Tensor],
        canonical: CanonicalKeypoints,
        source: Motion,
        driving: Motion,
        window: Window | None = None,
    ) -> DenseMotion:
        """Batch shape B throughout; features as `SmallAppearance` returns them; the volume in the window alone."""
        size = features["eighth"].shape[-1]  # G
        with exact(features["eighth"].device):
            keypoints = KeypointTransforms.of(canonical, source, driving, self.layout)
            x_s, x_d = keypoints.source, keypoints.driving
            grid = pixel_grid(size, size, x_d)  # (G, G, 2)
            fine_grid = pixel_grid(2 * size, 2 * size, x_d)
            prior = self.prior(fine_grid, x_d)  # (B, K + 1, 2G, 2G)
            prior_flow = surface_flow(prior.softmax(1), fine_grid, keypoints)  # (B, 2G, 2G, 2)
            coarse_flow = F.avg_pool2d(prior_flow.permute(0, 3, 1, 2), 2)  # (B, 2, G, G)
            # What the keypoints say: heat of the driving frame minus heat of the source, per keypoint.
            heat = _heat(grid, x_d) - _heat(grid, x_s)  # (B, K, G, G)
            displacement = coarse_flow - grid.permute(2, 0, 1)
            behind = keypoints.behind(grid)  # (B, G, G, 2)
            fine_behind = keypoints.behind(fine_grid)

        # What the source shows where the head came from, and behind it: whether something is background or moves.
        compressed = self.compress(features["eighth"])  # (B, 24, G, G)
        still = warp(compressed, behind)
        warped = warp(compressed, coarse_flow.permute(0, 2, 3, 1))
        x0 = self.enter(torch.cat([heat, warped, displacement, still], 1))  # (B, 64, G, G)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x1 = self.up1(torch.cat([upsample(x2), x1], 1))
        hidden = self.up2(torch.cat([upsample(x1), x0], 1))  # (B, 64, G, G)
        warped_fine = warp(features["quarter"], prior_flow)  # (B, 32, 2G, 2G)
        still_fine = warp(features["quarter"], fine_behind)
        fine = self.fine(torch.cat([upsample(hidden), warped_fine, still_fine], 1))  # (B, 32, 2G, 2G)
        logits2d = _pointwise(self.mask2d, fine)
        residual, relief, occlusion = _together(fine, self.residual, self.relief, self.occlusion)
        with exact(hidden.device):
            masks = (prior + logits2d.float()).softmax(1)
            flow = surface_flow(masks, fine_grid, keypoints, 0.5 * relief.float())
            flow = flow + 0.1 * residual.float().permute(0, 2, 3, 1)
            flow = flow + enlarged_flow(driving.residual_flow, 2 * size)
            flow = correct_flow(flow, fine_grid, x_d[:, : len(FEATURES), :2], x_s[:, : len(FEATURES), :2])
        further = enlarged_flow(driving.residual_flow, size)  # (B, G, G, 2)
        if window is not None:
            hidden, grid = window.of(hidden), window.grid(size, hidden)
            further = window.of(further.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        logits3d = _pointwise(self.mask3d, hidden)
        with exact(hidden.device):
            volume_flow = self._volume_flow(logits3d.float(), grid, keypoints) + F.pad(further, (0, 1))[:, None]
        trust = torch.sigmoid(occlusion)
        return DenseMotion(volume_flow, flow, masks, keypoints.background, trust, hidden, fine)

    def prior(self, grid: Tensor, x_d: Tensor) -> Tensor:
        """Logits of the nearest-keypoint kernel and, as channel 0, the background: (B, K + 1, H, W).

        grid (H, W, 2), x_d (B, K, 3)
        """
        logits = -0.5 * self.kernel.exp()[:, None, None] * squared_distance(grid, x_d[..., :2])
        background = self.background[1].expand(logits.shape[0], 1, *logits.shape[2:])
        return torch.cat([background, logits], 1)

    def _volume_flow(self, logits: Tensor, grid: Tensor, keypoints: KeypointTransforms) -> Tensor:
        """Source coordinates (B, D, H, W, 3) of the driving volume's cells, depth scaled to [-1, 1] too.

        logits   (B, (K + 1) D, H, W) what the network adds to the nearest-keypoint kernel in 3D
        grid     (H, W, 2) or (B, H, W, 2)
        """
        x_d, local, offset = keypoints.driving, keypoints.local, keypoints.offset
        b, _, h, w = logits.shape
        d = self.depth
        flat = squared_distance(grid, x_d[..., :2])  # (B, K, H, W)
        deep = (self.planes[:, None] - x_d[:, None, :, 2]) ** 2  # (B, D, K)
        gap = flat[:, :, None] + deep.mT[..., None, None]  # (B, K, D, H, W)
        kernel = -0.5 * self.kernel.exp()[:, None, None, None] * gap
        background = self.background[0].expand(b, 1, d, h, w)
        masks = (torch.cat([background, kernel], 1) + logits.reshape(b, -1, d, h, w)).softmax(1)  # (B, K + 1, D, H, W)
        m = masks.flatten(2)  # (B, K + 1, DHW)
        places = grid.reshape(-1, 1, h, w, 2).expand(-1, d, h, w, 2)
        planes = self.planes[:, None, None, None].expand(len(places), d, h, w, 1)
        p = torch.cat([places, planes], -1).reshape(-1, d * h * w, 3).mT  # (1 or B, 3, DHW)
        ground, head, body = _parts(m, keypoints)
        flow = head * (local @ p) + body * (keypoints.body_local @ p) + offset.mT @ m[:, 1:] + ground * p  # (B, 3, DHW)
        moved = (keypoints.behind(grid) - grid).reshape(b, 1, h * w, 2).mT.repeat(1, d, 1, 1)  # (B, D, 2, HW)
        flow = flow + F.pad(ground * moved.permute(0, 2, 1, 3).flatten(2), (0, 0, 0, 1))
        near, far = self.planes[0], self.planes[-1]
        # Planes are cell centres: the outer faces of the volume lie half a plane further out.
        half = (far - near) / (d - 1) / 2
        depth = (flow[:, 2:] - (near + far) / 2) / ((far - near) / 2 + half)
        return torch.cat([flow[:, :2], depth], 1).mT.reshape(b, d, h, w, 3)


def _pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution as a matrix product: what follows goes over channels, and engines turn them to the front.

    The product reads the channels of a pixel side by side, as the convolution before leaves them.
    """
    assert layer.bias is not None
    pixels = x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])  # (B, HW, C)
    out: Tensor = layer.weight.flatten(1) @ pixels.mT + layer.bias[:, None]
    return out.reshape(len(x), -1, *x.shape[2:])


def _together(x: Tensor, *layers: nn.Conv2d) -> tuple[Tensor, ...]:
    """3x3 convolutions of the same maps as one: a processor computes at least sixteen channels at a time."""
    weights = torch.cat([layer.weight for layer in layers])
    biases = torch.cat([layer.bias for layer in layers if layer.bias is not None])
    return torch.split(F.conv2d(x, weights, biases, padding=1), [layer.out_channels for layer in layers], 1)


def correct_flow(flow: Tensor, grid: Tensor, driving: Tensor, source: Tensor) -> Tensor:
    """Flow (B, H, W, 2) that takes the driving keypoints (B, N, 2) nearer to where they lie in the source, (B, N, 2).

    Masks average over neighbours, which damps what single lips, lids and brows do. What is left at a keypoint is
    spread over its surroundings, shared with the keypoints beside it. More rounds of the same gain nothing (measured).
    """
    b, h, w, _ = flow.shape
    near = torch.exp(-0.5 / _SURROUNDINGS**2 * squared_distance(grid, driving)).flatten(2)  # (B, N, HW)
    near = near / near.sum(1, keepdim=True).clamp(min=1.0)
    at = F.grid_sample(flow.permute(0, 3, 1, 2), driving[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return flow + _CORRECTED * ((source.mT - at) @ near).mT.reshape(b, h, w, 2)


@dataclass(frozen=True)
class KeypointTransforms:
    """Keypoints of source and driving frame in the picture, and the local maps from the driving frame to the source."""

    source: Tensor  # (B, K, 3)
    driving: Tensor  # (B, K, 3)
    local: Tensor  # (B, 3, 3) A of the head: how driving displacements turn and scale into source displacements
    body_local: Tensor  # (B, 3, 3) A of the body
    offset: Tensor  # (B, K, 3) x_s,k - A x_d,k
    layout: KeypointLayout
    background: Tensor  # (B, 4) where driving background comes from: B of `Motion.background`'s kind

    @staticmethod
    def of(
        canonical: CanonicalKeypoints, source: Motion, driving: Motion, layout: KeypointLayout
    ) -> KeypointTransforms:
        (x_s, r_s), (x_d, r_d) = (_placed(canonical, motion) for motion in (source, driving))
        local = (r_s @ r_d.mT) * (source.scale / driving.scale)[:, None, None]
        body_local = _similarity(x_d[:, layout.body], x_s[:, layout.body])
        turned = torch.cat([x_d[:, layout.head] @ local.mT, x_d[:, layout.body] @ body_local.mT], 1)
        background = background_since(source.background, driving.background)
        return KeypointTransforms(x_s, x_d, local, body_local, x_s - turned, layout, background)

    def behind(self, grid: Tensor) -> Tensor:
        """Source coordinates (B, H, W, 2) of the background at `grid`, (H, W, 2) or (B, H, W, 2)."""
        return behind(self.background, grid)


def _placed(canonical: CanonicalKeypoints, motion: Motion) -> tuple[Tensor, Tensor]:
    """Keypoints (B, K, 3) as of `compose`, and the head's rotation (B, 3, 3), worked out once for both."""
    rotation: Tensor = rotation_matrix(motion.yaw, motion.pitch, motion.roll)
    at_scale_1 = canonical.points @ rotation.mT + motion.expression
    return motion.scale[:, None, None] * at_scale_1 + motion.translation[:, None], rotation


def behind(background: Tensor, grid: Tensor) -> Tensor:
    """Source coordinates (B, H, W, 2) of a background (B, 4) at `grid`, (H, W, 2) or (B, H, W, 2)."""
    one = torch.eye(2, device=background.device, dtype=background.dtype)
    size, roll = background[:, 2, None], background[:, 3, None]  # (B, 1) each
    turn = torch.stack([torch.cat(turned_and_sized(x, y, size, roll), -1) for x, y in one], 1)  # (B, 2, 2)
    h, w = grid.shape[-3:-1]
    out: Tensor = grid.reshape(-1, h * w, 2) @ turn + background[:, None, :2]
    return out.reshape(-1, h, w, 2)


def enlarged_flow(residual_flow: Tensor, size: int) -> Tensor:
    """Residual flow (B, 64, 2) between the places of its grid too: (B, size, size, 2)."""
    planes = residual_flow.mT.reshape(-1, 2, RESIDUAL_FLOW_SIDE, RESIDUAL_FLOW_SIDE)
    return enlarge(planes, size // RESIDUAL_FLOW_SIDE).permute(0, 2, 3, 1)


def _parts(masks: Tensor, keypoints: KeypointTransforms) -> tuple[Tensor, Tensor, Tensor]:
    """What belongs to background, head and body, (B, 1, N) each of masks (B, K + 1, N)."""
    body = masks[:, 1:][:, keypoints.layout.body].sum(1, keepdim=True)
    return masks[:, :1], 1 - masks[:, :1] - body, body


def _similarity(points: Tensor, onto: Tensor) -> Tensor:
    """How points (B, N, 3) turn and scale in the picture's plane to lie `onto` others, least squares: (B, 3, 3).

    The identity for fewer than two points.
    """
    b, n, _ = points.shape
    one, zero = points.new_ones(b), points.new_zeros(b)
    c, s = one, zero
    if n > 1:
        p, q = (x[..., :2] - x[..., :2].mean(1, keepdim=True) for x in (points, onto))
        spread = (p * p).sum((1, 2)).clamp(min=1e-3)
        # Points that came together by accident say nothing: no more than half or twice the size.
        c = ((p * q).sum((1, 2)) / spread).clamp(0.5, 2.0)
        s = ((p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / spread).clamp(-0.5, 0.5)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(b, 3, 3)


def surface_flow(masks: Tensor, grid: Tensor, keypoints: KeypointTransforms, relief: Tensor | None = None) -> Tensor:
    """Flow (B, H, W, 2) of the visible surface, whose depth the keypoints' own depth interpolates.

    masks   (B, K + 1, H, W), background first
    grid    (H, W, 2)
    relief  (B, 1, H, W) how much deeper the surface is than the smooth interpolation, crop units: what is learned of
            it from small turns holds for large ones
    """
    x_d, local, offset = keypoints.driving, keypoints.local, keypoints.offset
    b, _, h, w = masks.shape
    m = masks.flatten(2)  # (B, K + 1, HW)
    (ground, share, body), moving = _parts(m, keypoints), m[:, 1:]
    head = keypoints.layout.head
    surface = (x_d[:, head, 2:].mT @ moving[:, head]) / share.clamp(min=1e-4)  # (B, 1, HW)
    if relief is not None:
        surface = surface + relief.flatten(2)
    p = grid.reshape(h * w, 2).mT  # (2, HW)
    turned = local[:, :2, :2] @ p + local[:, :2, 2:] @ surface  # (B, 2, HW)
    behind = keypoints.behind(grid).reshape(b, -1, 2).mT  # (B, 2, HW)
    flow = share * turned + body * (keypoints.body_local[:, :2, :2] @ p) + offset[..., :2].mT @ moving + ground * behind
    return flow.mT.reshape(b, h, w, 2)


def _heat(grid: Tensor, points: Tensor) -> Tensor:
    """Gaussians of sigma 0.1 around projected keypoints: (B, K, G, G)."""
    return torch.exp(-50.0 * squared_distance(grid, points[..., :2]))


def squared_distance(grid: Tensor, points: Tensor) -> Tensor:
    """|p - x_k|^2 of a grid (H, W, 2) or (B, H, W, 2) and points (B, K, 2): (B, K, H, W)."""
    dx = grid[..., None, :, :, 0] - points[..., 0][..., None, None]
    dy = grid[..., None, :, :, 1] - points[..., 1][..., None, None]
    return dx * dx + dy * dy
