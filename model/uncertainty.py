"""How uncertain it is where things have gone: what the filter over time (`model.temporal_filter`) is weighed by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.motion import Motion, rotation_matrix
from model.networks.grid import away_from_oval

_KNOWN, _UNKNOWN = 4.0, 14.0  # degrees of turn up to which confidence is full, and from which on there is none
_RIM = 0.15  # of the face's half axes, over which uncertainty begins
_SIDE = 64  # pixels of the uncertainty before it is enlarged


def turn(source: Motion, driving: Motion) -> Tensor:
    """Degrees (B,) by which heads have turned about any axis."""
    r_s, r_d = (rotation_matrix(m.yaw, m.pitch, m.roll) for m in (source, driving))
    trace = (r_s * r_d).sum((-2, -1))
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))


def uncertainty(turned: Tensor, face: Tensor, size: int) -> Tensor:
    """1 - confidence in where what is not the face has gone: (B, 1, size, size) in [0, 1].

    turned  (B,) degrees since the source image
    face    (B, N, 2) points of it in the picture, crop units
    """
    outside = ((away_from_oval(face, _SIDE) - 1) / _RIM).clamp(0, 1)  # (B, h, w)
    share = ((turned - _KNOWN) / (_UNKNOWN - _KNOWN)).clamp(0, 1)
    return F.interpolate((share[:, None, None] * outside)[:, None], (size, size), mode="bilinear", align_corners=False)
