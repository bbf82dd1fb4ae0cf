"""Colour conversion on the model's device: RGB to planar YUV 4:2:0, what VP8 and H.264 encode.

Matrix and range are ITU-R BT.601, limited range (luma 16..235, chroma 16..240): what browsers assume for VP8, which
carries no colour description, and for H.264 streams without one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.errors import InputError

# ITU-R BT.601-7 section 2.5.1: rows Y, Cb, Cr of R'G'B' in 0..255, scaled to the limited range.
_MATRIX = (
    (65.481 / 255, 128.553 / 255, 24.966 / 255),
    (-37.797 / 255, -74.203 / 255, 112.0 / 255),
    (112.0 / 255, -93.786 / 255, -18.214 / 255),
)


def rgb_to_yuv420p(frames: Tensor) -> Tensor:
    """Frames uint8 (B, 3, H, W) RGB to uint8 (B, 3H/2, W): H rows of Y, then all of U, then all of V.

    U and V are the means of 2x2 pixels and lie row after row in H/4 rows of W each, the layout that PyAV's
    `VideoFrame.from_ndarray(..., format="yuv420p")` takes. Runs on the device of `frames`.
    Raises InputError when H is no multiple of 4 or W is odd.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise InputError(f"frames must be uint8 (B, 3, H, W), not {frames.dtype} {tuple(frames.shape)}")
    batch, _, height, width = frames.shape
    if height % 4 or width % 2:
        raise InputError(f"yuv420p needs a height divisible by 4 and an even width, not {width}x{height}")
    rgb = frames.float()  # (B, 3, H, W)
    matrix = torch.tensor(_MATRIX, device=frames.device)  # (3, 3)
    red, green, blue = rgb.unbind(1)
    luma = matrix[0, 0] * red + matrix[0, 1] * green + matrix[0, 2] * blue + 16.5  # (B, H, W)
    # The conversion is linear, so averaging RGB first does a quarter of the chroma arithmetic.
    mean = torch.nn.functional.avg_pool2d(rgb, 2)  # (B, 3, H/2, W/2)
    chroma = torch.einsum("yc,bchw->byhw", matrix[1:], mean) + 128.5  # (B, 2, H/2, W/2)
    planes = [luma.reshape(batch, -1), chroma.reshape(batch, -1)]
    return torch.cat(planes, 1).to(torch.uint8).reshape(batch, height * 3 // 2, width)
