"""What is watched as a camera that other programs can choose, where the machine has a loopback device for it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from model.errors import InputError


class VirtualCamera:
    """A `server.viewer.sink.Sink` over the package pyvirtualcam, which nothing else here needs."""

    hears = False

    def __init__(self, device: Path | None, size: tuple[int, int], fps: float) -> None:
        """Raises InputError where the package or the device is missing."""
        try:
            package: Any = importlib.import_module("pyvirtualcam")
        except ImportError:
            raise InputError(
                "a virtual camera needs the package pyvirtualcam: pip install -r requirements-camera.txt"
            ) from None
        self.fps: float | None = fps
        width, height = size
        try:
            self._camera: Any = package.Camera(
                width, height, fps, fmt=package.PixelFormat.RGB, device=None if device is None else str(device)
            )
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"there is no virtual camera to write to (v4l2loopback, OBS): {reason}") from None

    @property
    def device(self) -> str:
        """What other programs call it."""
        return str(self._camera.device)

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        """Show it."""
        del at
        self._camera.send(np.ascontiguousarray(picture))

    def sound(self, frame: AudioFrame, at: float) -> None:
        """A camera has none."""

    def close(self) -> None:
        """Give the device back."""
        self._camera.close()
