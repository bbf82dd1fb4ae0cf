"""Films for Chromium's fake camera: a portrait that goes to and fro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e.conftest import ARGUMENTS
from tests.e2e.staged import SIZE, portrait

TURNED = (-8.0, 8.0)
"""Pixels by which the portrait goes to and fro."""


def with_camera(path: Path, frames: int, fps: int) -> list[str]:
    """Chromium's arguments with a camera that shows a film of so many frames, over and over, written to `path`."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIZE} H{SIZE} F{fps}:1 Ip A1:1 C420\n".encode())
        for index in range(frames):
            yaw = float(np.interp(abs(index - frames / 2), [0, frames / 2], TURNED))
            file.write(b"FRAME\n" + yuv420(portrait(yaw, 0.0, 0.0)))
    fake = [f"--use-file-for-fake-video-capture={path}", "--use-fake-device-for-media-stream"]
    return [argument for argument in ARGUMENTS if "fake-device" not in argument] + fake


def yuv420(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Planes of a picture (H, W, 3), chroma at half the size."""
    y, cb, cr = Image.fromarray(picture).convert("YCbCr").split()
    half = (picture.shape[1] // 2, picture.shape[0] // 2)
    # JPEG's range to video's.
    luma = (np.asarray(y, np.float32) * (219 / 255) + 16).astype(np.uint8)
    chroma = [np.asarray(plane.resize(half), np.float32) for plane in (cb, cr)]
    return luma.tobytes() + b"".join(((plane - 128) * (224 / 255) + 128).astype(np.uint8).tobytes() for plane in chroma)
