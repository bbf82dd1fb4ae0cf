"""A clip's windows and the motion that draws them.

Windows are cut where motion is told; lips lean to the right one and are laid where what it draws is like the film.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model.clip.lip_registration import MouthPatches, registered
from model.motion import CanonicalKeypoints, Motion
from model.source.window_search import WindowPlace
from model.source.window_steering import steered


def drawn_by(
    places: Sequence[WindowPlace],
    motions: Motion,
    canonical: CanonicalKeypoints,
    thumbnails: NDArray[np.uint8],
    patches: MouthPatches,
    source: int,
    step: Callable[[], object] = lambda: None,
) -> tuple[list[WindowPlace], Motion]:
    """A file's windows, cut where `motions` (T,) have them, and the motions that draw them.

    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    patches     around the mouths of the same frames
    source      the frame that is the source image
    step        called T times: a frame's lips are where they belong
    """
    told = [place.told(canonical, motions[place.frame]) for place in places]
    mouths = [place.frame for place in told if place.of_mouth]
    leaning = steered(motions, canonical, thumbnails, source, mouths)
    return told, registered(leaning, canonical, patches, source, mouths, step)
