"""Pseudo-motion: a photo of a face becomes a short clip in which the head turns and the eyes and mouth move a little.

The face's own three-dimensional landmarks are moved; the pixels follow through one smooth backward warp of the whole
photo (thin-plate spline, Bookstein 1989). That shows many more people than there are clips. What is not in the photo,
such as teeth behind closed lips, is never invented: an edit that a warp cannot show is not made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from model.arrays import Floats
from model.motion import rotation_matrix
from model.networks.grid import pixel_grid
from model.teacher.decompose import EYE_DISTANCE, decompose

UPPER_LIP = np.array([191, 80, 81, 82, 13, 312, 311, 310, 415, 185, 40, 39, 37, 0, 267, 269, 270, 409])
LOWER_LIP = np.array([95, 88, 178, 87, 14, 317, 402, 318, 324, 146, 91, 181, 84, 17, 314, 405, 321, 375])
MOUTH_CORNERS = np.array([61, 78, 291, 308])
UPPER_INNER, LOWER_INNER = 13, 14
# Per eye: upper lid, lower lid, the fold above the upper lid; index by index above one another.
LIDS = (
    (
        (246, 161, 160, 159, 158, 157, 173),
        (7, 163, 144, 145, 153, 154, 155),
        (247, 30, 29, 27, 28, 56, 190),
    ),
    (
        (466, 388, 387, 386, 385, 384, 398),
        (249, 390, 373, 374, 380, 381, 382),
        (467, 260, 259, 257, 258, 286, 414),
    ),
)
FACE_OVAL = np.array(
    [
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ]
)
_LID_POINTS = np.array(LIDS).reshape(-1)
CONTROLS = np.unique(
    np.concatenate([np.arange(0, 468, 4), FACE_OVAL, UPPER_LIP, LOWER_LIP, MOUTH_CORNERS, _LID_POINTS])
)
NECK = np.array([0.0, 0.9, 0.6], np.float32)
"""Where the head turns about, in the mean face's units: below the ears and behind the face."""

_GRID = 64
_LEAST_AREA = 0.12
"""No neighbourhood of the photo may shrink below this share of its area, or pixels tear and fold."""
_MOST_BEYOND = 1.06
"""How far beyond the photo's border at 1 pixels may be asked for: the repeated edge shows as streaks."""


@dataclass(frozen=True)
class Edit:
    """One movement of a photographed head."""

    yaw: float  # degrees, added to the photo's
    pitch: float  # degrees
    roll: float  # degrees
    scale: float  # factor
    shift: tuple[float, float]  # crop units
    lids: float  # 0 = as photographed, 1 = closed
    mouth: float  # factor of the gap between the lips

    def weaker(self, share: float) -> Edit:
        """The same movement, `share` as strong."""
        return Edit(
            self.yaw * share,
            self.pitch * share,
            self.roll * share,
            1 + (self.scale - 1) * share,
            (self.shift[0] * share, self.shift[1] * share),
            self.lids * share,
            1 + (self.mouth - 1) * share,
        )


def random_edit(random: np.random.Generator, yaw: float, pitch: float) -> Edit:
    """A random movement of a head photographed at (yaw, pitch): up to 15 degrees, rarely beyond 35 from frontal."""
    turn = float(np.clip(random.uniform(-15, 15), -35 - yaw, 35 - yaw))
    nod = float(np.clip(random.uniform(-12, 12), -25 - pitch, 25 - pitch))
    closing = float(random.uniform(0.3, 0.9)) if random.random() < 0.35 else 0.0
    return Edit(
        yaw=float(np.clip(turn, -15, 15)),
        pitch=float(np.clip(nod, -15, 15)),
        roll=float(random.normal(0, 5)),
        scale=float(np.exp(random.normal(0, 0.04))),
        shift=(float(random.normal(0, 0.04)), float(random.normal(0, 0.03))),
        lids=closing,
        mouth=float(random.uniform(0.2, 1.4)),
    )


def pseudo_clip(
    photo: NDArray[np.uint8], points: Floats, random: np.random.Generator, frames: int = 8, size: int = 256
) -> tuple[NDArray[np.uint8], Floats]:
    """A pseudo-clip: the untouched photo, then up to `frames` - 1 movements of it that a warp can show.

    photo    uint8 (S, S, 3) with S >= size, better twice that for sharpness
    points   float32 (478, 3) in crop units of the photo
    Returns  frames uint8 (T, size, size, 3) and their landmarks float32 (T, 478, 3), 1 <= T <= frames
    """
    pose = decompose(points[None])
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float()  # (1, 3, S, S)
    pictures, labels = [_resize(pixels, size)], [points]
    for _ in range(4 * frames):
        if len(pictures) == frames:
            break
        edit = random_edit(random, float(pose.yaw[0]), float(pose.pitch[0]))
        for _ in range(5):
            moved, outline, moved_outline = move(points, edit)
            flow = backward_map(points, moved, outline, moved_outline)
            if _least_area(flow) >= _LEAST_AREA and np.abs(flow).max() <= _MOST_BEYOND:
                break
            edit = edit.weaker(0.7)
        else:
            continue
        pictures.append(_resize(_warp(pixels, flow), size))
        labels.append(moved)
    return np.concatenate(pictures), np.stack(labels).astype(np.float32)


def move(points: Floats, edit: Edit) -> tuple[Floats, Floats, Floats]:
    """Landmarks (478, 3) after an edit, and the head's outline (hair, ears, neck) before and after, each (N, 3)."""
    pose = decompose(points[None])
    rotation = rotation_matrix(pose.yaw, pose.pitch, pose.roll)[0]
    turned = rotation_matrix(pose.yaw + edit.yaw, pose.pitch + edit.pitch, pose.roll + edit.roll)[0]
    scale, translation = pose.scale[0], pose.translation[0]
    canonical = (points - translation) @ rotation / scale
    # The head turns about the neck, not about the face: the neck's place stays.
    place = translation + scale * (rotation @ NECK - edit.scale * (turned @ NECK))
    place[:2] += edit.shift

    def after(shape: Floats) -> Floats:
        return np.asarray(scale * edit.scale * (shape @ turned.T) + place, np.float32)

    outline = _outline()
    before = np.asarray(scale * (outline @ rotation.T) + translation, np.float32)
    neck = outline[:, 1] > 1.0
    moved_outline = np.where(neck[:, None], (before + after(outline)) / 2, after(outline))
    return after(_express(canonical, edit)), before, np.asarray(moved_outline, np.float32)


def backward_map(points: Floats, moved: Floats, outline: Floats, moved_outline: Floats) -> Floats:
    """Where each place of the moved picture lies in the photo: float32 (64, 64, 2) crop units, x then y.

    The border of the picture stays where it is, except next to the head.
    """
    source = np.concatenate([points[CONTROLS, :2], outline[:, :2]])
    target = np.concatenate([moved[CONTROLS, :2], moved_outline[:, :2]])
    line = np.linspace(-1, 1, 13)
    border = np.array([(x, y) for x in line for y in line if max(abs(x), abs(y)) > 0.99])
    near = np.linalg.norm(border[:, None] - source[None], axis=-1).min(-1) < 0.3
    border = border[~near]
    source, target = np.concatenate([source, border]), np.concatenate([target, border])
    # Smoothing lets points that come to lie upon each other share a place instead of tearing the picture.
    spline = RBFInterpolator(target, source - target, kernel="thin_plate_spline", smoothing=1e-3, degree=1)
    places = pixel_grid(_GRID, _GRID, torch.empty(0, dtype=torch.float64)).numpy()
    return np.asarray(places + spline(places.reshape(-1, 2)).reshape(places.shape), np.float32)


def _express(canonical: Floats, edit: Edit) -> Floats:
    shape = canonical.copy()
    for upper, lower, fold in (tuple(np.array(part) for part in eye) for eye in LIDS):
        gap = canonical[lower] - canonical[upper]
        shape[upper] += 0.9 * edit.lids * gap
        shape[lower] -= 0.1 * edit.lids * gap
        shape[fold] += 0.4 * edit.lids * gap
    gap_y = float(canonical[LOWER_INNER, 1] - canonical[UPPER_INNER, 1])
    if gap_y < 0.06 * EYE_DISTANCE:  # closed lips cannot be parted by a warp
        return shape
    change = gap_y * (edit.mouth - 1)
    middle = canonical[MOUTH_CORNERS].mean(0)
    half = float(np.ptp(canonical[MOUTH_CORNERS, 0])) / 2
    across = np.clip(1 - ((canonical[:, 0] - middle[0]) / half) ** 2, 0, 1)
    shape[UPPER_LIP, 1] -= 0.15 * change * across[UPPER_LIP]
    shape[LOWER_LIP, 1] += 0.85 * change * across[LOWER_LIP]
    chin = np.setdiff1d(np.flatnonzero(canonical[:, 1] > canonical[17, 1]), np.concatenate([LOWER_LIP, UPPER_LIP]))
    shape[chin, 1] += 0.85 * change * np.exp(-(((canonical[chin, 0] - middle[0]) / (1.2 * half)) ** 2))
    return shape


def _outline() -> Floats:
    """Hair, ears and neck of an average head in the mean face's units, (N, 3)."""
    angle = np.linspace(-0.25 * np.pi, 1.25 * np.pi, 17)
    hair = np.stack([0.66 * np.cos(angle), -0.05 - 0.72 * np.sin(angle), np.full_like(angle, 0.35)], -1)
    neck = np.array([[-0.35, 1.25, 0.4], [0.0, 1.25, 0.3], [0.35, 1.25, 0.4]])
    return np.concatenate([hair, neck]).astype(np.float32)


def _least_area(flow: Floats) -> float:
    """The smallest area factor of the map between neighbouring grid places; negative where it folds."""
    step = 2 / _GRID
    dx, dy = np.diff(flow, axis=1)[:-1] / step, np.diff(flow, axis=0)[:, :-1] / step
    return float((dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]).min())


def _warp(pixels: torch.Tensor, flow: Floats) -> torch.Tensor:
    places = torch.from_numpy(flow)
    height, width = pixels.shape[2:]
    # The grid's outermost cells are extended along the slope, not clamped: no band along the border stands still.
    offset = (places - pixel_grid(_GRID, _GRID, places)).permute(2, 0, 1)[None]
    fine = F.interpolate(offset, (height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    at = pixel_grid(height, width, places) + fine
    return F.grid_sample(pixels, at, mode="bicubic", padding_mode="border", align_corners=False)


def _resize(pixels: torch.Tensor, size: int) -> NDArray[np.uint8]:
    small = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return np.asarray(small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
