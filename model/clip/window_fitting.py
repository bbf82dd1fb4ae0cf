"""Mouth windows changed so that what is mixed of them is like the film.

A receiver mixes the windows that are near, and a mixture is like none of them: teeth fade, and what a window does not
show of a frame is missing in it. What is drawn is linear in the windows' pictures. So a file, which knows all frames
that a window is drawn in, changes the pictures by the gradient of what is still different in all of them: least
deviations for a dictionary whose shares are given (Adam, Kingma and Ba 2015). Nothing changes in the format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.clip.mouth_patches import COLUMNS, ROWS, MouthPatches, drawn_places, in_light_of, is_drawn
from model.clip.window_mixing import StackedWindows, counting_most, mixed_colours, window_weights
from model.networks.small.mouth import drawable, mouth_frame
from model.window.mouth import MouthWindow

FITTING_STEPS = 25
"""Of Adam, over all frames."""

_SIDE = 32  # cells of a window's change: frames show no more of it, and noise would cost bits
_STEP = 0.02  # of [0, 1] that one of them may take
_BETAS = 0.8, 0.95
_PRIOR = 0.003  # of the square of a cell's change, against a frame's mean difference
_EDGES = 0.5  # what differences between neighbours count beside colours: teeth are edges
_SMALL = 0.01  # of [0, 1], below which a difference counts by its square
_LEAST = 0.05  # of a mouth that windows have, below which it says nothing of them
_MOST_FRAMES = 400  # of a long clip fewer are looked at
_MOST = 8  # windows that are mixed, those that count most
_BLOCK = 50  # frames at a time


def fitted(
    windows: Sequence[MouthWindow],
    lips: Floats,
    patches: MouthPatches,
    source: int,
    bare: NDArray[np.bool_],
    step: Callable[[], object] = lambda: None,
) -> list[MouthWindow]:
    """The windows with pictures that draw the clip better.

    lips    (T, 10, 2) keypoints of all mouths as a receiver has them, crop units
    source  the frame that is the source image
    bare    (T,) which mouths are seen
    step    called `FITTING_STEPS` times
    """
    with torch.inference_mode(False), torch.enable_grad():  # what was made in that mode has no gradients
        mixtures = _mixtures(windows, lips, patches, source, bare)
        changes = torch.zeros(len(windows), 3, _SIDE, _SIDE, requires_grad=True)
        adam = torch.optim.Adam([changes], lr=_STEP, betas=_BETAS)
        for _ in range(FITTING_STEPS):
            if mixtures:
                adam.zero_grad()
                (_PRIOR * changes.square().sum()).backward()  # type: ignore[no-untyped-call]
                for mixture in mixtures:
                    mixture.difference(changes).backward()  # type: ignore[no-untyped-call]
                adam.step()
            step()
    return [_changed(window, change) for window, change in zip(windows, changes.detach(), strict=True)]


def _changed(window: MouthWindow, change: Tensor) -> MouthWindow:
    side = len(window.picture)
    wide = F.interpolate(change[None], (side, side), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    picture = window.picture.astype(np.float32) + 255 * wide.numpy()
    return replace(window, picture=np.clip(np.round(picture), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class _Mixture:
    """What is drawn of B mouths, each of which mixes R windows."""

    mixed: Tensor  # (B, R) windows' numbers
    counts: Tensor  # (B, R) what each counts, in the sum 1
    where: Tensor  # (B, R, N, 2) the windows' places, -1 to 1, that are drawn
    drawn: Tensor  # (B, 3, N) what is drawn of windows as they are
    wanted: Tensor  # (B, 3, N) the film
    seen: Tensor  # (B, 1, N) what each place counts, in the sum 1, or 0 where none is seen
    share: Tensor  # (B, 1, 1) what windows have of the mouth; the rest is painted

    def difference(self, changes: Tensor) -> Tensor:
        """Sum over the mouths of the mean difference from the film that windows, changed by (K, 3, C, C), make."""
        drawn = self.drawn + mixed_colours(changes, self.mixed, self.counts, self.where, "bilinear")
        error = in_light_of(self.wanted, drawn, self.seen) - self.wanted
        error, counts = (x.reshape(*x.shape[:2], ROWS, COLUMNS) for x in (error, self.share * self.seen))
        off = (_size(error) * counts).sum()
        off = off + _EDGES * (_size(error.diff(dim=-1)) * counts[..., 1:]).sum()
        off = off + _EDGES * (_size(error.diff(dim=-2)) * counts[..., 1:, :]).sum()
        mean: Tensor = off / 3
        return mean


def _size(error: Tensor) -> Tensor:
    """Absolute values, rounded off around 0."""
    return (error.square() + _SMALL**2).sqrt()


def _mixtures(
    windows: Sequence[MouthWindow], lips: Floats, patches: MouthPatches, source: int, bare: NDArray[np.bool_]
) -> list[_Mixture]:
    """All mouths that windows draw, or in a long clip some of them, evenly."""
    if not windows:
        return []
    weights = window_weights(windows, lips, source)  # (K, T)
    known = bare & (weights.sum(0) > _LEAST) & drawable(mouth_frame(torch.from_numpy(lips))[1].norm(dim=-1)).numpy()
    known[source] = False
    frames = np.flatnonzero(known)
    frames = frames[:: max(1, -(-len(frames) // _MOST_FRAMES))]
    blocks = [frames[begin : begin + _BLOCK] for begin in range(0, len(frames), _BLOCK)]
    stacked = StackedWindows.of(windows)
    return [_mixture(stacked, weights[:, block], torch.from_numpy(lips[block]), patches, block) for block in blocks]


def _mixture(
    windows: StackedWindows, weights: NDArray[np.float64], lips: Tensor, patches: MouthPatches, frames: NDArray[np.intp]
) -> _Mixture:
    """Of frames (B,), whose mouths are `lips` (B, 10, 2) and mix all windows as `weights` (K, B)."""
    mixed, counts = counting_most(weights, _MOST)
    place = drawn_places(lips)  # (B, N, 2)
    wanted, seen = patches.shown(frames).at(place)
    seen &= is_drawn(place, lips)
    counted = (seen / seen.sum(1, keepdim=True).clamp(min=1))[:, None]
    where = windows.places(lips, place, mixed)
    # A receiver draws bicubically. But coding blurs, and mixing does where landmarks tremble: windows that make up for
    # bilinear drawing are sharper by about as much (docs/experiments/mouth-windows.md).
    drawn = mixed_colours(windows.pictures, mixed, counts, where, "bilinear")
    share = torch.from_numpy(weights.sum(0).astype(np.float32))[:, None, None]
    return _Mixture(mixed, counts, where, drawn, wanted, counted, share)
