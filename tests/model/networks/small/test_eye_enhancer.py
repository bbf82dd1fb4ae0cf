"""Windows of eyes: cut level and mirrored, corrected, and put back where they were; nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.small.eye_enhancer import HEIGHT, WIDTH, EyeEnhancer, EyePatches, enhance_eyes
from model.networks.small.eyes import from_eye
from model.networks.small_config import EYE_KEYPOINTS, GUIDED

SIZE = 256
HALF = 0.1  # crop units of half an eye's width
MIDDLES = ((-0.3, -0.1), (0.3, -0.1))


def face(tilt: float = 0.0, half: float = HALF) -> Tensor:
    """Guided keypoints (J, 3) with two eyes that look a quarter to the right of the picture."""
    points = torch.zeros(len(GUIDED), 3)
    u, v = torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.25]), torch.tensor([0.0, 0.0, -0.3, 0.3, 0.0])
    for keypoints, middle in zip(EYE_KEYPOINTS, MIDDLES, strict=True):
        points[list(keypoints), :2] = from_eye(u, v, torch.tensor(middle), half * torch.tensor([1.0, tilt]))
    return points


def picture(size: int = SIZE) -> Tensor:
    """Uint8 (3, size, size), smooth."""
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return (255 * F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)[0]).to(torch.uint8)


def windows(points: Tensor) -> EyePatches:
    return EyePatches.of(picture()[None].float() / 255, points)


def adds(amount: float) -> Tensor:
    return torch.full((2, 3, HEIGHT, WIDTH), amount)


def test_an_untrained_enhancer_adds_nothing() -> None:
    enhancer = EyeEnhancer().eval()
    assert enhancer(*EyeEnhancer.examples()).abs().max() == 0
    out = enhance_eyes(picture()[None], [windows(face())], face()[None], enhancer)
    assert torch.equal(out[0], picture())


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_the_network_sees_corners_left_and_right_and_either_eye_from_the_same_side(tilt: float) -> None:
    seen = windows(face(tilt))
    for points in seen.points:
        torch.testing.assert_close(points[:2], torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), atol=1e-5, rtol=0)
        torch.testing.assert_close(points[2:4], torch.tensor([[0.0, -0.3], [0.0, 0.3]]), atol=1e-5, rtol=0)
    assert seen.points[0, 4, 0] == pytest.approx(0.25, abs=1e-5)
    assert seen.points[1, 4, 0] == pytest.approx(-0.25, abs=1e-5)  # in the mirror


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_what_is_added_lands_where_the_eyes_are(size: int, tilt: float) -> None:
    source, points = windows(face(tilt)), face(tilt)
    out = enhance_eyes(picture(size)[None], [source], points[None], lambda *_: adds(0.2))[0]
    change = (out.float() - picture(size).float()).abs().amax(0)
    for middle in MIDDLES:
        x, y = (int((m + 1) / 2 * size) for m in middle)
        assert 45 <= change[y, x] <= 52 or out[:, y, x].max() == 255
    assert change[: size // 4].max() == 0
    assert change[size * 7 // 10 :].max() == 0
    assert change[:, size // 2].max() == 0


def test_a_mirrored_addition_is_mirrored_back() -> None:
    half = adds(0.0)
    half[..., : WIDTH // 2] = 0.3  # towards the first corner: the outer one of either eye
    out = enhance_eyes(
        torch.full((1, 3, SIZE, SIZE), 100, dtype=torch.uint8), [windows(face())], face()[None], lambda *_: half
    )
    row = out[0, 0, int(0.45 * SIZE)].float() - 100
    left, right = (int((m[0] + 1) / 2 * SIZE) for m in MIDDLES)
    assert row[left - 6] > 70
    assert row[left + 6] == 0
    assert row[right + 6] > 70
    assert row[right - 6] == 0


def test_pictures_without_windows_and_small_eyes_stay() -> None:
    def never(*_: Tensor) -> Tensor:
        raise AssertionError

    small = face(half=0.02)
    given = picture()[None].expand(2, -1, -1, -1)
    out = enhance_eyes(given, [None, windows(small)], torch.stack([face(), face()]), never)
    assert torch.equal(out, given)
    out = enhance_eyes(given[:1], [windows(face())], small[None], never)
    assert torch.equal(out, given[:1])


@pytest.mark.parametrize("wild", [np.nan, np.inf, -1e30, 3.0])
def test_wild_keypoints_do_not_stop_a_frame(wild: float) -> None:
    points = face()
    points[EYE_KEYPOINTS[0][0]] = wild
    out = enhance_eyes(picture()[None], [windows(face())], points[None], EyeEnhancer().eval())
    assert torch.equal(out[0], picture())
