"""Where what is watched goes, and which of these a name on the command line means."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from model.errors import InputError
from model.media.atomic_file import check_place
from model.media.video import check_video_name

SMALLEST, LARGEST = 64, 3840
"""Pixels."""

STREAM_FORMATS = ("y4m", "nut")


class Sink(Protocol):
    """Takes pictures and sound on one thread; every method may block. Times are seconds from 0, never decreasing."""

    fps: float | None
    """Pictures a second that are wanted, old ones again where none is new; None: each once."""

    hears: bool
    """Whether sound is wanted."""

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        """A picture uint8 (H, W, 3) RGB of the size that was agreed on. Raises BrokenPipeError when nobody reads."""

    def sound(self, frame: AudioFrame, at: float) -> None:
        """Sound that begins then."""

    def close(self) -> None:
        """Write the end; idempotent."""


@dataclass(frozen=True)
class Output:
    """What the command line asked for, checked."""

    kind: str  # film, y4m, nut or camera
    path: Path | None  # None: standard output, or whatever virtual camera there is
    size: tuple[int, int]  # (width, height)
    fps: float


def parse_output(out: str, size: str, fps: float, stream_format: str = "y4m") -> Output:
    """Raises InputError for what cannot be written."""
    found = re.fullmatch(r"(\d{2,4})(?:x(\d{2,4}))?", size)
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if width % 2 or height % 2 or not all(SMALLEST <= side <= LARGEST for side in (width, height)):
        raise InputError(f"--size is WIDTHxHEIGHT or one side, even, {SMALLEST} to {LARGEST} pixels, not {size!r}")
    if not 1.0 <= fps <= 60.0:
        raise InputError("--fps must lie between 1 and 60")
    if out == "-":
        return Output(stream_format, None, (width, height), fps)
    if out == "camera" or out.startswith("camera:"):
        device = out.partition(":")[2]
        return Output("camera", Path(device) if device else None, (width, height), fps)
    path = Path(out)
    if path.suffix.lower()[1:] in STREAM_FORMATS:
        return Output(path.suffix.lower()[1:], path, (width, height), fps)
    check_video_name(path)
    check_place(path)
    return Output("film", path, (width, height), fps)


def open_sink(output: Output) -> Sink:
    """Open it. Raises InputError."""
    # Each where it is needed: a virtual camera's package may be missing.
    if output.kind == "film":
        from server.viewer.film import Film

        assert output.path is not None
        return Film(output.path, output.size)
    if output.kind == "camera":
        from server.viewer.virtual_camera import VirtualCamera

        return VirtualCamera(output.path, output.size, output.fps)
    from server.viewer.pipe import Nut, Yuv4Mpeg

    file: BinaryIO
    try:
        file = sys.stdout.buffer if output.path is None else output.path.open("wb")
    except OSError as error:
        raise InputError(f"{output.path} cannot be written ({error.strerror})") from None
    made = Yuv4Mpeg if output.kind == "y4m" else Nut
    return made(file, output.size, output.fps)
