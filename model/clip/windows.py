"""A clip's windows and the motion that draws them.

Windows are cut where motion is told, and lips lean to the right one. Then lips are laid where what is mixed of the
mouth windows is like the film, and these are changed until it is more like it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.clip.lip_registration import registered
from model.clip.mouth_patches import MouthPatches
from model.clip.window_fitting import FITTING_STEPS, fitted
from model.motion import CanonicalKeypoints, Motion
from model.source.mouth_choice import mouth_points
from model.source.window_search import WindowPlace
from model.source.window_steering import steered
from model.window import Window
from model.window.mouth import MouthWindow


def drawing_steps(frames: int) -> int:
    """How often `drawn_windows` calls its step for so many frames."""
    return frames + FITTING_STEPS


def drawn_windows(
    places: Sequence[WindowPlace],
    pictures: Mapping[int, NDArray[np.uint8]],
    motions: Motion,
    canonical: CanonicalKeypoints,
    thumbnails: NDArray[np.uint8],
    patches: MouthPatches,
    source: int,
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> tuple[list[Window], Motion]:
    """A file's windows, in the order of their places, and the motions (T,) that draw them.

    pictures    crops (S, S, 3) of any size, by frame, those of all places
    motions     (T,) of all frames, where the windows are cut
    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    patches     around the mouths of the same frames
    source      the frame that is the source image
    bare        (T,) of `WindowSearch.bare_mouths`
    step        called `drawing_steps` times
    """
    told = [place.told(canonical, motions[place.frame]) for place in places]
    windows = [place.cut(pictures[place.frame]) for place in told]
    cut = {place.frame: one for place, one in zip(told, windows, strict=True) if isinstance(one, MouthWindow)}
    motions = steered(motions, canonical, thumbnails, source, list(cut), bare)
    motions = registered(motions, canonical, cut, patches, source, bare, step)
    changed = iter(fitted(list(cut.values()), mouth_points(canonical, motions), patches, source, bare, step))
    return [next(changed) if isinstance(one, MouthWindow) else one for one in windows], motions
