"""Eyes once more, in windows of their own: what drawing gets wrong there, learned and corrected.

A window lies level with the corners of its eye, about a pixel of 256 to a pixel. A small network sees what was drawn in
it, what the source image has in its own, and where the keypoints of both lie, and says what is to be added. It was
trained on what the other networks draw (`model/train/enhancement.py`): irises drawn aslant, lids that do not quite
close, whites that are grey. One eye is mirrored, so that both are one network's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.grid import pixel_grid
from model.networks.small.eyes import from_eye, to_eye
from model.networks.small_config import EYE_KEYPOINTS, WILD

HEIGHT, WIDTH = 32, 48
"""Pixels of a window."""

_REACH = (1.6, 16 / 15)
"""Half its width and half its height, eye coordinates (`eyes.py`); its middle is the eye's."""
_SIZE = 256  # pixels of a picture's side that a window is cut from
_SPREAD = 0.12  # eye coordinates, one sigma of the spot that stands for a keypoint
_BORDER = 5.0  # pixels over which an addition comes in from a window's border
_LARGEST = 0.5  # addition, of [0, 1]
_LEAST_WIDTH = 4 / 128  # crop units of half an eye's width, under which it is too small

_SIDES = ((EYE_KEYPOINTS[0], 1.0), ((EYE_KEYPOINTS[1][1], EYE_KEYPOINTS[1][0], *EYE_KEYPOINTS[1][2:]), -1.0))
"""Keypoints of either eye as the network sees them, and the sign of u there: in a mirror corners change places."""

Enhance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""What `EyeEnhancer.forward` does."""


class EyeEnhancer(nn.Module):
    """What is to be added in an eye's window."""

    grid: Tensor
    share: Tensor

    def __init__(self, near: int = 32, far: int = 48) -> None:
        """`near`, `far`: channels at half and at a quarter of the window's size."""
        super().__init__()
        self.register_buffer("grid", _grid(HEIGHT // 2, WIDTH // 2, torch.device("cpu")), persistent=False)
        y, x = ((torch.arange(n) + 0.5).minimum(n - torch.arange(n) - 0.5) for n in (HEIGHT, WIDTH))
        share = (y / _BORDER).clamp(max=1)[:, None] * (x / _BORDER).clamp(max=1)
        self.register_buffer("share", share, persistent=False)
        self.enter = nn.Conv2d(2 * 12 + 2 * len(EYE_KEYPOINTS[0]), near, 3, 1, 1)
        self.first = nn.Conv2d(near, near, 3, 1, 1)
        self.down = nn.Conv2d(near, far, 3, 2, 1)
        self.inner, self.outer = nn.Conv2d(far, far, 3, 1, 1), nn.Conv2d(far, far, 3, 1, 1)
        self.up = nn.Conv2d(far, near, 1)
        self.join = nn.Conv2d(2 * near, near, 3, 1, 1)
        self.add = nn.Conv2d(near, 12, 3, 1, 1)
        nn.init.zeros_(self.add.weight)
        assert self.add.bias is not None
        nn.init.zeros_(self.add.bias)

    def forward(self, drawn: Tensor, source: Tensor, points: Tensor, source_points: Tensor) -> Tensor:
        """(B, 3, 32, 48): what is to be added to windows that were drawn, these and the source images' in [0, 1].

        points, source_points  (B, 5, 2) keypoints in either window, eye coordinates: corners, lids, iris
        """
        pictures = [F.pixel_unshuffle(picture, 2) - 0.5 for picture in (drawn, source)]
        x = torch.cat([*pictures, self._spots(points), self._spots(source_points)], 1)  # (B, 34, 16, 24)
        near = F.relu(self.first(F.relu(self.enter(x))))
        far = F.relu(self.down(near))  # (B, 48, 8, 12)
        far = F.relu(far + self.outer(F.relu(self.inner(far))))
        wide = F.interpolate(self.up(far), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.relu(self.join(torch.cat([wide, near], 1)))
        out: Tensor = _LARGEST * F.pixel_shuffle(self.add(x), 2) * self.share
        return out

    @staticmethod
    def examples() -> tuple[Tensor, ...]:
        """What the two eyes of a face give it."""
        random = torch.Generator().manual_seed(0)
        pictures = [torch.rand(2, 3, HEIGHT, WIDTH, generator=random) for _ in range(2)]
        points = [torch.rand(2, len(EYE_KEYPOINTS[0]), 2, generator=random) * 2 - 1 for _ in range(2)]
        return *pictures, *points

    def _spots(self, points: Tensor) -> Tensor:
        gap = (self.grid - points[:, :, None, None]).square().sum(-1)  # (B, 5, 16, 24)
        return torch.exp(-gap / (2 * _SPREAD**2))


@dataclass(frozen=True)
class EyePatches:
    """Windows of both eyes of a picture, as the network sees them."""

    pictures: Tensor  # (2, 3, 32, 48) in [0, 1]
    points: Tensor  # (2, 5, 2) eye coordinates
    middle: Tensor  # (2, 2) crop units
    axis: Tensor  # (2, 2) crop units
    large: tuple[bool, ...]  # whether each eye is large enough

    @staticmethod
    def of(image: Tensor, face: Tensor) -> EyePatches:
        """`image` (1, 3, 256, 256) in [0, 1], `face` (J, 2 or more) its guided keypoints, crop units."""
        # Motion comes from a network: what is no number, or far outside the picture, must not stop a frame.
        face = face[:, :2].float().nan_to_num(0.0).clamp(-WILD, WILD)
        points = torch.stack([face[list(keypoints)] for keypoints, _ in _SIDES])  # (2, 5, 2)
        signs = face.new_tensor([sign for _, sign in _SIDES])[:, None]
        middle, axis = points[:, :2].mean(1), signs * (points[:, 1] - points[:, 0]) / 2  # (2, 2) each
        u, v = _grid(HEIGHT, WIDTH, face.device).unbind(-1)
        place = from_eye(signs[..., None] * u, v, middle[:, None, None], axis[:, None, None])  # (2, 32, 48, 2)
        seen = F.grid_sample(
            image.expand(2, -1, -1, -1), place, mode="bicubic", padding_mode="border", align_corners=False
        )
        inside = _mirrored(to_eye(points, middle[:, None], axis[:, None]), signs[..., None])
        large: list[bool] = (axis.norm(dim=-1) > _LEAST_WIDTH).tolist()
        return EyePatches(seen.clamp(0, 1), inside, middle, axis, tuple(large))

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(t.numel() * t.element_size() for t in (self.pictures, self.points, self.middle, self.axis))


def enhance_eyes(pictures: Tensor, sources: Sequence[EyePatches | None], face: Tensor, enhance: Enhance) -> Tensor:
    """Pictures uint8 (B, 3, S, S), S 256 or 512, with their eyes corrected.

    sources  of the source image of each; None corrects nothing
    face     (B, J, 2 or more) guided keypoints of the driving frames, crop units
    """
    out = pictures.clone(memory_format=torch.contiguous_format)
    for picture, source, points in zip(out, sources, face, strict=True):
        if source is not None:
            _enhance_one(picture, source, points, enhance)
    return out


def _enhance_one(picture: Tensor, source: EyePatches, face: Tensor, enhance: Enhance) -> None:
    """Corrects a picture uint8 (3, S, S) in place."""
    image = picture[None].float() / 255
    if (factor := picture.shape[-1] // _SIZE) > 1:
        image = F.avg_pool2d(image, factor)
    windows = EyePatches.of(image, face)
    seen = [eye for eye in (0, 1) if source.large[eye] and windows.large[eye]]
    if not seen:
        return
    additions = enhance(windows.pictures, source.pictures, windows.points, source.points)
    for eye in seen:
        _add(picture, additions[eye : eye + 1], windows.middle[eye], windows.axis[eye], _SIDES[eye][1])


def _add(picture: Tensor, addition: Tensor, middle: Tensor, axis: Tensor, sign: float) -> None:
    """Adds (1, 3, 32, 48) to a picture uint8 (3, S, S), in place."""
    size = picture.shape[-1]
    reach = addition.new_tensor(_REACH)
    corners = from_eye(reach[0] * _corner(0, axis), reach[1] * _corner(1, axis), middle, axis)  # (4, 2)
    pixels = (corners + 1) * (size / 2)
    low = pixels.amin(0).floor().clamp(0, size).int().tolist()
    high = pixels.amax(0).ceil().clamp(0, size).int().tolist()
    if low[0] >= high[0] or low[1] >= high[1]:
        return
    x, y = (torch.arange(low[i], high[i], device=picture.device) for i in (0, 1))
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) * (2 / size) + (1 / size - 1)  # (h, w, 2)
    place = _mirrored(to_eye(at.to(axis.dtype), middle, axis), sign) / reach
    added = F.grid_sample(addition.float(), place[None], align_corners=False)[0]  # 0 outside the window
    box = picture[:, low[1] : high[1], low[0] : high[0]]
    box.copy_((box + 255 * added + 0.5).clamp(0, 255).to(torch.uint8))


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Eye coordinates (height, width, 2) of a window's pixels."""
    return pixel_grid(height, width, torch.empty(0, device=device)) * torch.tensor(_REACH, device=device)


def _corner(axis: int, like: Tensor) -> Tensor:
    """One coordinate, -1 or 1, of a window's four corners."""
    return like.new_tensor([(-1.0, 1.0, -1.0, 1.0), (-1.0, -1.0, 1.0, 1.0)][axis])


def _mirrored(place: Tensor, sign: Tensor | float) -> Tensor:
    """Eye coordinates (..., 2) with u times `sign`."""
    return torch.stack([place[..., 0] * (sign[..., 0] if isinstance(sign, Tensor) else sign), place[..., 1]], -1)
