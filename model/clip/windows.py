"""A clip's windows and the motion that draws them.

Windows are cut where motion is told; lips lean to the right one and are laid where what it draws is like the film; and
mouths are changed until what is mixed of them is like it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def drawn_by(
    places: Sequence[WindowPlace],
    motions: Motion,
    canonical: CanonicalKeypoints,
    thumbnails: NDArray[np.uint8],
    patches: MouthPatches,
    source: int,
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> tuple[list[WindowPlace], Motion]:
    """A file's windows, cut where `motions` (T,) have them, and the motions that draw them.

    thumbnails  (T, 128, 128) of `similarity.thumbnail`
    patches     around the mouths of the same frames
    source      the frame that is the source image
    bare        (T,) of `WindowSearch.bare_mouths`
    step        called T times: a frame's lips are where they belong
    """
    told = [place.told(canonical, motions[place.frame]) for place in places]
    mouths = [place.frame for place in told if place.of_mouth]
    leaning = steered(motions, canonical, thumbnails, source, mouths, bare)
    return told, registered(leaning, canonical, patches, source, mouths, bare, step)


def drawing_steps(frames: int) -> int:
    """How often the steps of `drawn_by` and `fitted_windows` are called for so many frames."""
    return frames + FITTING_STEPS


def fitted_windows(
    windows: Sequence[Window],
    motions: Motion,
    canonical: CanonicalKeypoints,
    patches: MouthPatches,
    source: int,
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> list[Window]:
    """The windows, those of the mouth with pictures that draw the clip better; `motions` are those of `drawn_by`."""
    mouths = [window for window in windows if isinstance(window, MouthWindow)]
    changed = iter(fitted(mouths, mouth_points(canonical, motions), patches, source, bare, step))
    return [next(changed) if isinstance(window, MouthWindow) else window for window in windows]
