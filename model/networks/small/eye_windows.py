"""Eyes as eye windows show them: moved onto the driving lids and irises, in place of what was drawn there.

A source image has its eyes open one way and looking one way. Between what is drawn from it and the windows the nearest
eye counts (`eye_distance`), each eye for itself, softly and by the motion alone: no state is kept, and every receiver
draws the same. A window is moved by a thin-plate spline over corners, lids and iris and places around the eye that
stay. Its colours are brought to the drawn frame's by a gain, measured on the skin around the lids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.small.eyes import to_eye
from model.networks.small.overlay import lay_over, pixels_between
from model.networks.small.spline import Spline, sample
from model.networks.small_config import EYE_KEYPOINTS, WILD
from model.window.eyes import HALF, NEARNESS, STAYING, EyeWindow, eye_distance

_BESIDE = 0.35  # eye coordinates of skin around the lids that is drawn with them
_SOFT = 0.2  # eye coordinates over which an eye and what was drawn blend
_RING = (0.1, 0.45)  # eye coordinates around the lids by which colours are matched
_SEEN = 1.7  # eye coordinates around the middle that are looked at
_LEAST_WIDTH = 4 / 128  # crop units of half an eye's width, under which it is too small to be drawn
_LARGEST_WIDTH = 0.4  # and over which it is none: a sender's motion must not make a frame take long


@dataclass(frozen=True)
class EyeWindows:
    """R windows of one person, and the eyes of the source image that they stand beside."""

    pictures: tuple[tuple[Tensor, Tensor], ...]  # (1, 3, W, W) of each eye, in [0, 1]
    points: Tensor  # (R, 2, 5, 2) eye coordinates
    source: Tensor  # (2, 5, 2) eye coordinates

    @staticmethod
    def of(windows: Sequence[EyeWindow], face: Tensor) -> EyeWindows:
        """`face`: guided keypoints (J, 2 or more) of the source image, crop units, on the device to draw on."""
        pictures = []
        for one in windows:
            both = torch.from_numpy(np.array(one.picture)).permute(2, 0, 1)[None].to(face.device).float() / 255
            left, right = both.chunk(2, -1)
            pictures.append((left.contiguous(), right.contiguous()))
        points = torch.from_numpy(np.stack([one.points for one in windows])).to(face.device)
        return EyeWindows(tuple(pictures), points, _in_eye_coordinates(face[list(EYE_KEYPOINTS), :2].float()))

    @cached_property
    def shapes(self) -> NDArray[np.float32]:
        """Eyes of the source image and of the windows, (1 + R, 2, 5, 2), by which the nearest is found."""
        shapes: NDArray[np.float32] = torch.cat([self.source[None], self.points]).cpu().numpy()
        return shapes

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        shown = [eye for pair in self.pictures for eye in pair]
        return sum(t.numel() * t.element_size() for t in (*shown, self.points, self.source))


def draw_eye_windows(frames: Tensor, windows: Sequence[EyeWindows | None], face: Tensor) -> Tensor:
    """Frames uint8 (B, 3, S, S) with their eyes as the windows beside each source image have them, if there are any.

    face  (B, J, 2 or more) guided keypoints of the driving frames, crop units
    """
    drawn = []
    for frame, beside, points in zip(frames, windows, face, strict=True):
        if beside is not None:
            frame = frame.clone(memory_format=torch.contiguous_format)
            # Motion comes from a network: what is no number, or far outside the picture, must not stop a frame.
            eyes = points[list(EYE_KEYPOINTS), :2].float().nan_to_num(0.0).clamp(-WILD, WILD)
            for number in (0, 1):
                _draw_eye(frame, beside, number, eyes[number])
        drawn.append(frame)
    return torch.stack(drawn)


def _in_eye_coordinates(points: Tensor) -> Tensor:
    """Keypoints (..., 5, 2) in crop units."""
    middle, axis = (points[..., 0, :] + points[..., 1, :]) / 2, (points[..., 1, :] - points[..., 0, :]) / 2
    return to_eye(points, middle[..., None, :], axis[..., None, :])


def _draw_eye(frame: Tensor, windows: EyeWindows, number: int, points: Tensor) -> None:
    """One eye of a frame uint8 (3, S, S), in place; points (5, 2) of the driving eye, crop units."""
    size = frame.shape[-1]
    middle, axis = (points[0] + points[1]) / 2, (points[1] - points[0]) / 2
    width = float(axis.norm())
    if not _LEAST_WIDTH <= width <= _LARGEST_WIDTH:
        return
    eye = to_eye(points, middle, axis)
    weights = _weights(windows, number, eye)
    near = [index for index, weight in enumerate(weights) if weight]
    pixels = pixels_between(middle - _SEEN * width, middle + _SEEN * width, size)
    if not near or pixels is None:
        return
    place = to_eye((pixels * 2 + 1).to(points.dtype) / size - 1, middle, axis)
    inside = _inside(place, eye)
    seen = inside > -max(_RING[1], _BESIDE + _SOFT)
    pixels, place, inside = pixels[seen], place[seen], inside[seen]
    stay = eye.new_tensor(STAYING)
    onto = torch.stack([torch.cat([windows.points[index, number], stay]) for index in near])
    places = Spline(torch.cat([eye, stay]), onto).at(place)  # (R, N, 2)
    drawn, share = torch.zeros(3, len(place), device=frame.device), sum(weights)
    for index, where in zip(near, places, strict=True):
        drawn += weights[index] / share * sample(windows.pictures[index][number], where / HALF)
    alpha = ((inside + _BESIDE) / _SOFT + 0.5).clamp(0, 1) * min(share, 1.0)
    lay_over(frame, pixels, drawn, (inside < -_RING[0]) & (inside > -_RING[1]), alpha)


def _weights(windows: EyeWindows, number: int, eye: Tensor) -> list[float]:
    """How much each window counts for an eye; what is left of 1 is the source image's."""
    return NEARNESS.of_windows(eye_distance(windows.shapes[:, number], eye.cpu().numpy()))


def _inside(place: Tensor, eye: Tensor) -> Tensor:
    """How far places (N, 2) lie within the lids of an eye (5, 2), eye coordinates; negative outside."""
    u, v = place.unbind(-1)
    arch = (1 - u * u).clamp(0, 1)
    return torch.minimum(torch.minimum(v - eye[2, 1] * arch, eye[3, 1] * arch - v), 1.05 - u.abs())
