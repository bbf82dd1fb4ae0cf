"""A recursive filter over the time of rendered frames: against the flicker of what is moved to not quite its place.

Strands of hair and folds of clothes go where the source image says, but the further the head has turned from there, the
less it knows of where each of them is by now, and what changes wrongly shows more than what changes a little late. So
there, and outside the face, a frame keeps a share of the one before it. The face is never touched, nor is anything
while the head is turned as in the source image.

Detail finer than the networks' pixels (`model.networks.small.sharp`) is filtered everywhere: a camera's exposure blurs
what moves, and without that detail that moves by fractions of a pixel flickers. What flicker it still adds, the frame
beneath it makes up for: there pixels that hardly change are filtered as long, wherever they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = 0.04  # seconds after which a frame's share has fallen to a third, where there is no confidence
_DETAIL_KEPT = 0.08  # the same of detail, and of pixels beneath it that hardly change
_STILL = 0.01  # change of a pixel, of [0, 1], at which the filter beneath detail has fallen to a third


class TemporalFilter:
    """Filters one viewer's frames, in order."""

    def __init__(self) -> None:
        self._last: tuple[object, float, Tensor] | None = None
        self._detail: tuple[object, float, Tensor] | None = None

    def follow(
        self, frame: Tensor, uncertainty: Tensor, source: object, at: float, beneath_detail: bool = False
    ) -> Tensor:
        """The frame (3, S, S) as it is to be shown.

        uncertainty  (1, S, S) as `model.uncertainty.uncertainty` gives it
        source       what the frame was made of, by identity; with another one the filter begins anew
        at           seconds; it begins anew as well where time goes back
        beneath_detail  detail is added to it
        """
        if self._last is not None:
            before, then, last = self._last
            if before is source and at >= then:
                kept = uncertainty * math.exp((then - at) / _KEPT)
                if beneath_detail:
                    still = ((frame - last).abs().amax(0, keepdim=True) / _STILL).square().neg().exp()
                    kept = kept.maximum(still * math.exp((then - at) / _DETAIL_KEPT))
                frame = frame.lerp(last, kept)
        self._last = source, at, frame
        return frame

    def follow_detail(self, detail: Tensor, source: object, at: float) -> Tensor:
        """The detail (1, 2S, 2S) as it is to be shown; begins anew as `follow` does."""
        if self._detail is not None:
            before, then, last = self._detail
            if before is source and at >= then:
                detail = detail.lerp(last, math.exp((then - at) / _DETAIL_KEPT))
        self._detail = source, at, detail
        return detail


@dataclass(frozen=True)
class FrameTime:
    """When a frame is shown, and after which others."""

    filter: TemporalFilter  # of the view that shows the frame
    at: float  # seconds
