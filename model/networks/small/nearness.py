"""`model.window.nearness.Nearness` in torch, for one frame."""

from __future__ import annotations

import torch
from torch import Tensor

from model.window.nearness import LEAST_WEIGHT, Nearness


def window_weights(away: Tensor, nearness: Nearness) -> list[float]:
    """How much each window counts, K of them; what is left of 1 is the source image's.

    away  (1 + K,) distance of the source image's shape and of the windows' from the driving face's
    """
    away = away.clone()
    windows = len(away) - 1
    away[0] = (away[0] - nearness.handicap(windows)).clamp(max=nearness.far)
    weights = torch.softmax(-away / nearness.softness(windows), 0)[1:]
    counted: list[float] = ((weights - LEAST_WEIGHT) / (1 - LEAST_WEIGHT)).clamp(min=0).tolist()
    return counted
