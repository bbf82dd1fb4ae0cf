"""Picture metrics: pure functions on batches of frames. Networks (LPIPS, identity, landmarks) are passed in as results.

Frames are float tensors (B, 3, H, W), RGB in [0, 1]; every metric returns one value per frame, (B,), float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang, Simoncelli, Bovik 2003, section 3.2)."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference in [0, 1]."""
    return (a - b).abs().mean((1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over all three channels, capped at 100 dB (equal frames)."""
    error = ((a - b) ** 2).mean((1, 2, 3))
    return -10.0 * torch.log10(error.clamp_min(1e-10))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), mean over RGB; Gaussian window 11, sigma 1.5, borders left out.

    The same number as scikit-image's `structural_similarity` with gaussian_weights and use_sample_covariance=False.
    Raises ValueError for frames under 11 pixels.
    """
    luminance, contrast = _ssim_maps(a, b)
    return (luminance * contrast).mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM (Wang, Simoncelli, Bovik 2003), five scales, mean over RGB.

    Negative contrast terms count as 0. Raises ValueError for frames under 176 pixels (11 at the fifth scale).
    """
    if min(a.shape[-2:]) < 16 * _WINDOW:
        raise ValueError(f"MS-SSIM needs at least {16 * _WINDOW} pixels, not {tuple(a.shape[-2:])}")
    product = a.new_ones(a.shape[:2])  # (B, 3)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, contrast = _ssim_maps(a, b)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        term = (luminance * contrast if last else contrast).mean((2, 3))
        product = product * term.clamp_min(0.0) ** weight
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product.mean(1)


def flicker(a: Tensor, b: Tensor) -> Tensor:
    """Temporal flicker of frames `a` against the truth `b`: mean |(a_t - b_t) - (a_{t-1} - b_{t-1})|, shape (B - 1,).

    Frames are successive; a constant error does not count, one that moves does. Unit: [0, 1] as in `l1`.
    """
    error = a - b
    return (error[1:] - error[:-1]).abs().mean((1, 2, 3))


def landmark_distance(a: Tensor, b: Tensor, size: int = 256) -> Tensor:
    """Average keypoint distance (AKD), x and y, pixels of a crop of `size`; landmarks (B, N, 2 or 3) in crop units."""
    distance: Tensor = torch.linalg.vector_norm(a[..., :2] - b[..., :2], dim=-1)
    return distance.mean(-1) * (size / 2)


def pose_error(a: Tensor, b: Tensor) -> Tensor:
    """Head-pose error in degrees of (yaw, pitch, roll), (B, 3): mean absolute difference, each the short way round."""
    return ((a - b + 180.0) % 360.0 - 180.0).abs().mean(-1)


def _ssim_maps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance term and contrast-structure term, (B, 3, H - 10, W - 10) each."""
    if min(a.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} pixels, not {tuple(a.shape[-2:])}")
    statistics = torch.cat([a, b, a * a, b * b, a * b])
    mean_a, mean_b, aa, bb, ab = _blur(statistics).chunk(5)
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return luminance, contrast


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=x.dtype, device=x.device) - _WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    # Every plane as a channel of one picture: several times faster on a CPU than three channels of many.
    planes = x.reshape(1, -1, *x.shape[-2:])
    count = planes.shape[1]
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)
    return planes.view(*x.shape[:2], *planes.shape[-2:])
