"""Mouths as mouth windows show them: moved onto the driving lips, in place of what the generator painted there.

A source image with closed lips has no teeth; the generator paints them dark. Between the source image and the windows
the nearest mouth counts (`shape_distance` in mouth coordinates). Nearness decides softly and by the motion alone, so
nothing flickers where two are as near, no state is kept, and every receiver draws the same.

A window is moved by a thin-plate spline (Bookstein 1989) over the ten keypoints of the lips. Its colours are brought to
the painted frame's by a gain, measured on the skin around the lips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.small.eyes import to_eye as to_mouth
from model.networks.small.overlay import lay_over, pixels_between
from model.networks.small.spline import Spline, sample
from model.networks.small_config import MOUTH
from model.window.mouth import NEARNESS, MouthWindow, shape_distance

BESIDE = 0.3
"""Mouth coordinates of skin around the lips that is drawn with them."""

_SOFT = 3 / 128  # crop units over which mouth and painting blend
_RING = 6 / 128  # crop units of skin around the lips by which colours are matched
_BEYOND = 0.5  # mouth coordinates around the keypoints that are looked at
_OUTSIDE = 4.0  # crop units, beyond which a keypoint is wild
_LEAST_WIDTH = 4 / 128  # crop units of half a mouth's width, under which it is too small to be drawn
_LARGEST_WIDTH = 0.8  # and over which it is none: a sender's motion must not make a frame take long

_UPPER, _LOWER = (0, 6, 2, 7, 1), (0, 8, 3, 9, 1)  # the outer lips from corner to corner, positions in MOUTH


@dataclass(frozen=True)
class MouthWindows:
    """R windows of one person, and the mouth of the source image that they stand beside."""

    pictures: tuple[Tensor, ...]  # (1, 3, W, W) each, in [0, 1]
    points: Tensor  # (R, 10, 2) mouth coordinates
    extent: tuple[tuple[float, float], ...]  # v of the middle and half of the side, mouth coordinates
    source: Tensor  # (10, 2) mouth coordinates

    @staticmethod
    def of(windows: Sequence[MouthWindow], face: Tensor) -> MouthWindows:
        """`face`: guided keypoints (J, 2 or more) of the source image, crop units, on the device to draw on."""
        pictures = tuple(
            torch.from_numpy(np.array(one.picture)).permute(2, 0, 1)[None].to(face.device).float() / 255
            for one in windows
        )
        points = torch.from_numpy(np.stack([one.points for one in windows])).to(face.device)
        extent = tuple((one.middle, one.half) for one in windows)
        own = face[list(MOUTH), :2].float()
        return MouthWindows(pictures, points, extent, to_mouth(own, *mouth_frame(own)))

    @cached_property
    def shapes(self) -> NDArray[np.float32]:
        """Mouths of the source image and of the windows, (1 + R, 10, 2), by which the nearest is found."""
        shapes: NDArray[np.float32] = torch.cat([self.source[None], self.points]).cpu().numpy()
        return shapes

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(t.numel() * t.element_size() for t in (*self.pictures, self.points, self.source))


def draw_mouths(frames: Tensor, windows: Sequence[MouthWindows | None], face: Tensor) -> Tensor:
    """Frames uint8 (B, 3, S, S) with their mouths as the windows beside each source image have them, if there are any.

    face  (B, J, 2 or more) guided keypoints of the driving frames, crop units
    """
    return torch.stack(
        [
            frame if beside is None else draw_mouth(frame, beside, points)
            for frame, beside, points in zip(frames, windows, face, strict=True)
        ]
    )


def draw_mouth(frame: Tensor, windows: MouthWindows, face: Tensor) -> Tensor:
    """A frame uint8 (3, S, S) with its mouth as the nearest windows have it; itself where the source image is nearer.

    face  (J, 2 or more) guided keypoints of the driving frame, crop units
    """
    size = frame.shape[-1]
    # Motion comes from a network: what is no number, or far outside the picture, must not stop a frame.
    points = face[list(MOUTH), :2].float().nan_to_num(0.0).clamp(-_OUTSIDE, _OUTSIDE)
    middle, axis = mouth_frame(points)
    half = axis.norm().cpu()
    if not drawable(half):
        return frame
    width = float(half)
    lips = to_mouth(points, middle, axis)  # (10, 2)
    weights = _weights(windows, lips)
    if not any(weights):
        return frame
    pixels = pixels_between(points.amin(0) - _BEYOND * width, points.amax(0) + _BEYOND * width, size)
    if pixels is None:
        return frame
    at = (pixels * 2 + 1).to(points.dtype) / size - 1  # (N, 2)
    place = to_mouth(at, middle, axis)
    inside = inside_lips(place, lips) * width  # crop units
    seen = inside > -max(_RING, BESIDE * width + _SOFT)
    pixels, place, inside = pixels[seen], place[seen], inside[seen]
    near = [index for index, weight in enumerate(weights) if weight]
    places = Spline(lips, windows.points[near]).at(place)  # (R, N, 2)
    drawn, share = torch.zeros(3, len(place), device=frame.device), sum(weights)
    for index, where in zip(near, places, strict=True):
        v, half = windows.extent[index]
        offset = where.new_tensor([0.0, v])
        drawn += weights[index] / share * sample(windows.pictures[index], (where - offset) / half)
    alpha = ((inside + BESIDE * width) / _SOFT + 0.5).clamp(0, 1) * min(share, 1.0)
    out = frame.clone(memory_format=torch.contiguous_format)
    lay_over(out, pixels, drawn, (inside < 0) & (inside > -_RING), alpha)
    return out


def mouth_frame(points: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and axis (..., 2) of mouth coordinates, of keypoints (..., 10, 2)."""
    return (points[..., 0, :] + points[..., 1, :]) / 2, (points[..., 1, :] - points[..., 0, :]) / 2


def drawable(width: Tensor) -> Tensor:
    """Whether windows are drawn in mouths of half `width`, crop units."""
    fits: Tensor = (width >= _LEAST_WIDTH) & (width <= _LARGEST_WIDTH)
    return fits


def _weights(windows: MouthWindows, lips: Tensor) -> list[float]:
    """How much each window counts; what is left of 1 is the source image's. They fall with distance from the lips."""
    return NEARNESS.of_windows(shape_distance(windows.shapes, lips.cpu().numpy()))


def inside_lips(place: Tensor, lips: Tensor) -> Tensor:
    """How far places (..., N, 2) lie within the outer lips (..., 10, 2), mouth coordinates; negative outside."""
    u, v = place.unbind(-1)
    upper, lower = (lips[..., list(line), :] for line in (_UPPER, _LOWER))
    over = torch.minimum(v - _line(upper, u), _line(lower, u) - v)
    return torch.minimum(over, 1 - u.abs())


def _line(points: Tensor, u: Tensor) -> Tensor:
    """V at u (..., N) of a line through points (..., n, 2), whose order along u expression may upset."""
    knots = points[..., 0].cummax(-1).values
    widths = (knots[..., 1:] - knots[..., :-1]).clamp(min=1e-4)
    slopes = (points[..., 1:, 1] - points[..., :-1, 1]) / widths
    along = (u[..., None] - knots[..., None, :-1]).clamp(min=0).minimum(widths[..., None, :])  # (..., N, n - 1)
    return points[..., :1, 1] + (along @ slopes[..., None])[..., 0]
