"""Metrics against scikit-image and against values that can be said beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from model.evaluate import metrics


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pairs (2, 3, 256, 256): noise, and a shift by one pixel."""
    image = data.astronaut()[::2, ::2].astype(np.float32) / 255
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 0.05, image.shape), 0, 1).astype(np.float32)
    a, b = np.stack([image, image]), np.stack([noisy, np.roll(image, 1, 1)])
    return torch.from_numpy(a).permute(0, 3, 1, 2), torch.from_numpy(b).permute(0, 3, 1, 2)


def as_image(frame: torch.Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).numpy().astype(np.float64)


def test_ssim_and_psnr_agree_with_scikit_image() -> None:
    a, b = frames()
    for x, y, ssim, psnr in zip(a, b, metrics.ssim(a, b), metrics.psnr(a, b), strict=True):
        expected = structural_similarity(
            as_image(x),
            as_image(y),
            channel_axis=-1,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(ssim) == pytest.approx(expected, abs=2e-5)
        assert float(psnr) == pytest.approx(peak_signal_noise_ratio(as_image(x), as_image(y), data_range=1.0), abs=1e-3)


def _ms_ssim_of_one_channel(x: np.ndarray, y: np.ndarray) -> float:
    """Straight from the paper's equations (Wang, Simoncelli, Bovik 2003), on scipy's Gaussian filter."""

    def blur(z: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(z, 1.5, truncate=5 / 1.5)[5:-5, 5:-5])

    result = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        term = (2 * vxy + 9e-4) / (vx + vy + 9e-4)
        if scale == 4:
            term = term * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        result *= term.mean() ** weight
        x, y = (z.reshape(z.shape[0] // 2, 2, z.shape[1] // 2, 2).mean((1, 3)) for z in (x, y))
    return float(result)


def test_ms_ssim_agrees_with_its_equations() -> None:
    a, b = frames()
    for x, y, value in zip(a, b, metrics.ms_ssim(a, b), strict=True):
        expected = np.mean([_ms_ssim_of_one_channel(x[c].double().numpy(), y[c].double().numpy()) for c in range(3)])
        assert float(value) == pytest.approx(expected, abs=2e-5)
    assert metrics.ms_ssim(a, a).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(ValueError, match="176"):
        metrics.ms_ssim(a[..., :175, :175], b[..., :175, :175])


def test_equal_frames_are_perfect() -> None:
    a, _ = frames()
    assert metrics.l1(a, a).tolist() == [0, 0]
    assert metrics.psnr(a, a).tolist() == [100, 100]
    assert metrics.ssim(a, a).tolist() == pytest.approx([1.0, 1.0])


def test_flicker_forgives_a_constant_error_and_counts_a_moving_one() -> None:
    truth = torch.rand(4, 3, 8, 8) * 0.5
    assert metrics.flicker(truth + 0.25, truth).max() < 1e-6
    blinking = truth + torch.tensor([0.0, 0.1, 0.0, 0.1]).view(-1, 1, 1, 1)
    assert metrics.flicker(blinking, truth).tolist() == pytest.approx([0.1] * 3, abs=1e-6)


def test_landmark_distance_is_in_pixels_of_the_plane() -> None:
    a = torch.zeros(1, 5, 3)
    b = a + torch.tensor([3.0, 4.0, 100.0]) / 128
    assert metrics.landmark_distance(a, b).tolist() == pytest.approx([5.0])
    assert metrics.landmark_distance(a, b, size=512).tolist() == pytest.approx([10.0])


def test_pose_error_takes_the_short_way_round() -> None:
    a, b = torch.tensor([[179.0, 10.0, 0.0]]), torch.tensor([[-179.0, 6.0, 3.0]])
    assert metrics.pose_error(a, b).tolist() == pytest.approx([3.0])
