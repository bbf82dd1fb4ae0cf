"""What drawing damps or exaggerates of an expression is made good before it is drawn.

Dense motion averages over neighbours: lids close four fifths of the way that their landmarks close, a mouth opens a
little less and widens by a tenth more than its landmarks, irises are drawn two thirds as far aside. So, since the
source image, lids move further from their eye's corners, irises further aside between them, lips further up and down
from the mouth's corners and less far sideways from the corners' middle. The source image itself stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from model.motion import Motion, rotation_matrix
from model.networks.small_config import GUIDED

LIDS = 1.4
"""How far a lid moves, as a multiple. Chosen on training clips (docs/experiments/articulation.md), as are the next."""
WIDTH = 0.94
"""How far lips move sideways, as a multiple."""
OPENING = 1.1
"""How far the middle of the lips moves up and down, as a multiple."""
GAZE = 1.2
"""How far an iris moves aside, as a multiple."""

_LIDS = (((33, 133), (159, 145)), ((263, 362), (386, 374)))  # landmarks: corners, lids, of either eye
_IRISES = ((33, 133), 468), ((263, 362), 473)  # landmarks: corners, iris
_MOUTH_CORNERS = (61, 291)
_MIDDLE_LIPS = (0, 17, 13, 14)  # outer and inner, upper and lower
_LIPS = (61, 291, 40, 270, 91, 321)  # corners, and between these and the middle


@cache
def _gains(device: torch.device) -> Tensor:
    """(3, J, J): what is added to a change of the face's keypoints along each axis of the head."""
    with torch.inference_mode(False):  # it is kept, for calls that need gradients too
        added = torch.zeros(3, len(GUIDED), len(GUIDED), device=device)

    def further(axis: int, landmark: int, of: tuple[int, int], gain: float) -> None:
        row = added[axis, GUIDED.index(landmark)]
        row[GUIDED.index(landmark)] += gain - 1
        for end in of:
            row[GUIDED.index(end)] -= (gain - 1) / 2

    for corners, lids in _LIDS:
        for lid in lids:
            further(1, lid, corners, LIDS)
    for corners, iris in _IRISES:
        further(0, iris, corners, GAZE)
    for lip in _MIDDLE_LIPS:
        further(1, lip, _MOUTH_CORNERS, OPENING)
    for lip in _LIPS:
        further(0, lip, _MOUTH_CORNERS, WIDTH)
    return added


def articulated(driving: Motion, source: Motion) -> Motion:
    """Motion (B,) as it is to be drawn from source images in motion `source`, (B,); tensors.

    The change of expression is taken along the axes of the head: x to its left in the picture, y down, z away.
    """
    face = len(GUIDED)
    rotation = rotation_matrix(driving.yaw, driving.pitch, driving.roll)  # (B, 3, 3)
    before = source.expression[:, :face] @ rotation_matrix(source.yaw, source.pitch, source.roll)
    change = driving.expression[:, :face] @ rotation - before  # (B, J, 3)
    added = torch.einsum("ajk,bka->bja", _gains(change.device), change) @ rotation.mT
    expression = torch.cat([driving.expression[:, :face] + added, driving.expression[:, face:]], 1)
    return replace(driving, expression=expression)
