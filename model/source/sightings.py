"""What a film shows of one feature, frame after frame: all places, and as many textures as are looked at later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.source.mixing import MOST_FRAMES

MOST_KEPT = 4 * MOST_FRAMES
"""Textures: of a longer film those of every second frame, then of every fourth, and so on."""


class Sightings:
    """Takes a film's frames in order; its memory grows by the keypoints of a frame alone."""

    def __init__(self, texture: Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]) -> None:
        """`texture` of a crop (S, S, 3) and the feature's keypoints in it, (..., K, 2)."""
        self._texture = texture
        self._points: list[NDArray[np.float32]] = []
        self._kept: dict[int, NDArray[np.float32]] = {}  # textures by frame
        self._every = 1

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> NDArray[np.float32]:
        """Keypoints of all frames, (T, ..., K, 2)."""
        return np.stack(self._points)

    def add(self, crop: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """The next frame."""
        frame = len(self._points)
        self._points.append(points)
        if frame % self._every:
            return
        self._kept[frame] = self._texture(crop, points)
        if len(self._kept) > MOST_KEPT:
            self._every *= 2
            self._kept = {kept: texture for kept, texture in self._kept.items() if kept % self._every == 0}

    def textures(self, source: int, picture: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Frames whose textures are kept, (N,), and these, (N, ...); the source image's too, its crop `picture`."""
        kept = self._kept
        if source not in kept:
            kept = kept | {source: self._texture(picture, self._points[source])}
        frames = sorted(kept)
        return np.array(frames, np.intp), np.stack([kept[frame] for frame in frames])
