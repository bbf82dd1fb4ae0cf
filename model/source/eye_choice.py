"""Which eyes of a clip become eye windows.

Pure: knows keypoints and pictures; no files, no codec.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion, compose
from model.networks.small_config import EYE_KEYPOINTS
from model.source.mixing import Sights, choose_windows
from model.source.sightings import Sightings
from model.source.texture import EYE_AREA, EYE_TEXTURE
from model.window.corners import corner_coordinates
from model.window.eyes import NEARNESS, eye_distance, usable

ALIKE = 0.55
"""Correlation of an eye and its skin with the source image's from which nothing lies before it. On training films 2 %
of eyes have less, and one in ten of those that are closed; of eyes behind drawn hands and things 80 %."""

_PLAIN = 1e-12  # an area of one colour is like nothing


def eye_points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
    """Keypoints of both eyes, (..., 2, 5, 2), crop units; NumPy arrays."""
    points: NDArray[np.float32] = compose(canonical, motion)[..., np.array(EYE_KEYPOINTS), :2]
    return points


def eye_areas(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both eyes with their skin, (2, A), of a crop uint8 (S, S, 3) and its `eye_points`."""
    return np.stack([EYE_AREA.texture(crop, eye) for eye in points])


def alike(areas: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether both eyes of `eye_areas` (..., 2, A) look like the source image's (2, A), so that nothing hides one."""
    a, b = areas - areas.mean(-1, keepdims=True), own - own.mean(-1, keepdims=True)
    product = np.sqrt(np.maximum((a * a).sum(-1) * (b * b).sum(-1), _PLAIN))
    both: NDArray[np.bool_] = ((a * b).sum(-1) >= ALIKE * product).all(-1)
    return both


class EyeSearch:
    """Takes a clip's frames in order; keeps no pictures."""

    def __init__(self) -> None:
        self._seen = Sightings(_textures_and_areas)

    def consider(self, crop: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """A frame: its crop (S, S, 3) and `eye_points` (2, 5, 2)."""
        self._seen.add(crop, points)

    def best(
        self, source: int, picture: NDArray[np.uint8], clear: NDArray[np.bool_], count: int
    ) -> list[tuple[int, NDArray[np.float32]]]:
        """At most `count` frames to cut windows from, and where, beside the frame that is the source image.

        picture (S, S, 3) that frame's crop, clear (T,) which frames are measured and sharp
        """
        if not len(self._seen):
            return []
        frames, seen = self._seen.textures(source, picture)
        points, own = self._seen.points[frames], int(np.searchsorted(frames, source))
        textures, areas = seen[..., : EYE_TEXTURE.size], seen[..., EYE_TEXTURE.size :]
        shapes = corner_coordinates(points)
        eyes = [Sights(shapes[:, side], textures[:, side], eye_distance, NEARNESS) for side in (0, 1)]
        chosen = choose_windows(eyes, own, usable(points) & clear[frames] & alike(areas, areas[own]), count)
        return [(int(frames[i]), points[i]) for i in chosen]


def _textures_and_areas(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([[EYE_TEXTURE.texture(crop, eye) for eye in points], eye_areas(crop, points)], 1)
