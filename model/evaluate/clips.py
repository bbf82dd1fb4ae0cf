"""Clips as evaluation sees them: the head's fixed square crop, the same that `encode` transmits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.face.finder import clip_crop

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")


@dataclass(frozen=True)
class Clip:
    """One shot of one person."""

    name: str
    frames: NDArray[np.uint8]  # (T, S, S, 3) RGB, T >= 2
    fps: float


def find_clips(folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """Video files of a folder in alphabetical order, all or those whose names without suffix are in `only`.

    Raises InputError when there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no clips ({', '.join(SUFFIXES)})")
    wanted = [path for path in paths if only is None or path.stem in only]
    if not wanted:
        raise InputError(f"{folder}: no clip is named {' or '.join(only or ())}")
    return wanted


def read_clip(path: Path, size: int, max_frames: int | None = None) -> Clip:
    """The first `max_frames` frames of a video, cropped to the head and resized to `size` pixels.

    Raises InputError for an unreadable file or under two frames, FaceError when no single head can be followed.
    """
    frames: list[NDArray[np.uint8]] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            fps = float(stream.average_rate or 25)
            for frame in container.decode(stream):
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(frames) == max_frames:
                    break
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: not a readable video ({error})") from error
    if len(frames) < 2:
        raise InputError(f"{path}: needs at least two frames, has {len(frames)}")
    crop = clip_crop(frames)
    return Clip(path.stem, np.stack([crop.cut(frame, size) for frame in frames]), fps)
