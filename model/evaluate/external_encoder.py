"""Encoders that PyAV's wheel lacks, libaom and VVenC, in the FFmpeg program that the package imageio-ffmpeg carries."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError

_LONGEST_SECONDS = 1800


def program() -> str:
    """Path of the program. Raises InputError when the package is not installed."""
    if find_spec("imageio_ffmpeg") is None:
        raise InputError("imageio-ffmpeg is not installed: pip install -r requirements-evaluate.txt")
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def encode(
    frames: NDArray[np.uint8], encoder: str, options: Mapping[str, str], container: str, fps: int
) -> list[av.Packet[Any]]:
    """Packets, one a frame in coding order, of frames uint8 (T, H, W, 3) RGB, on one thread.

    container   FFmpeg's name of a raw stream that holds such packets: `ivf`, `vvc`
    Raises InputError when the program is missing, fails, or has no such encoder.
    """
    _, height, width, _ = frames.shape
    command = [program(), "-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-pix_fmt", "yuv420p", "-c:v", encoder]
    for name, value in options.items():
        command += [f"-{name}", value]
    command += ["-threads", "1", "-f", container, "-"]
    raw = np.ascontiguousarray(frames).tobytes()
    done = subprocess.run(command, input=raw, capture_output=True, timeout=_LONGEST_SECONDS, check=False)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise InputError(f"{encoder} failed: {reason[-1]}")
    with av.open(BytesIO(done.stdout), "r", format=container) as stream:
        return [packet for packet in stream.demux(video=0) if packet.size]
