"""Moved windows laid over a drawn frame: their colours brought to its, blended into it."""

from __future__ import annotations

import torch
from torch import Tensor

GAIN = (0.8, 1.25)
"""Of a window's colours, at least and at most: the light of two moments differs by so much."""


def pixels_between(low: Tensor, high: Tensor, size: int) -> Tensor | None:
    """Pixels x, y (N, 2) of a picture of that size between two places (2,), crop units; None where there are none."""
    first = ((low + 1) * size / 2).floor().long().clamp(0, size).tolist()
    last = ((high + 1) * size / 2).ceil().long().clamp(0, size).tolist()
    if first[0] >= last[0] or first[1] >= last[1]:
        return None
    x, y = (torch.arange(first[i], last[i], device=low.device) for i in (0, 1))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)


def lay_over(frame: Tensor, pixels: Tensor, drawn: Tensor, ring: Tensor, alpha: Tensor) -> None:
    """Draw over a contiguous frame uint8 (3, S, S), in place.

    pixels  (N, 2) x, y, those that may change
    drawn   (3, N) their colours, [0, 1]
    ring    (N,) which of them are skin by which colours are matched
    alpha   (N,) how much of what is drawn shows
    """
    number = pixels[:, 1] * frame.shape[-1] + pixels[:, 0]
    before = frame.flatten(1).index_select(1, number).float() / 255
    drawn, skin = drawn.clamp(0, 1), ring.float()
    gain = (before @ skin + 1e-3) / (drawn @ skin + 1e-3)
    drawn = (drawn * gain.clamp(*GAIN)[:, None]).clamp(0, 1)
    frame.view(3, -1).index_copy_(1, number, (torch.lerp(before, drawn, alpha) * 255 + 0.5).to(torch.uint8))
