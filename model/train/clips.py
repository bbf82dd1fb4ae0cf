"""Reading clips for training and writing prepared ones; and where the one crop of a shot lies."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.face.crop import Crop, covering_crop
from model.media.atomic_file import complete_file
from model.teacher.decompose import CHIN, FOREHEAD

Frames = NDArray[np.uint8]
TARGET_FPS = 12.5
"""About the rate at which frames are kept: neighbours at 25 Hz teach little that is new."""


def stride(fps: float, every: int | None) -> int:
    """Keep each stride-th frame: `every` when given, else what comes closest to TARGET_FPS."""
    return max(1, every or round(fps / TARGET_FPS))


def read_clip(path: Path, every: int | None = None, most: int = 300) -> Iterator[tuple[Frames, float]]:
    """The kept frames of a clip in parts of at most `most` frames: (uint8 (T, H, W, 3) RGB, frames a second).

    Raises InputError when the file is no readable video.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            fps = float(stream.average_rate or 25)
            step = stride(fps, every)
            part: list[Frames] = []
            for i, frame in enumerate(container.decode(stream)):
                if i % step:
                    continue
                part.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(part) == most:
                    yield np.stack(part), fps / step
                    part = []
            if part:
                yield np.stack(part), fps / step
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: not a readable video ({error})") from error


def write_clip(path: Path, frames: Frames, fps: float) -> None:
    """Write frames uint8 (T, S, S, 3), S even, as H.264 (crf 15, yuv420p), in place only when complete."""
    with complete_file(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "15", "preset": "medium"}
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def to_pixels(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Teacher landmarks (..., 3), [-1, 1] over the frame, in pixels; z in pixels as well."""
    half = np.array([width / 2, height / 2, width / 2], np.float32)
    return np.asarray(points * half + half * np.array([1, 1, 0], np.float32), np.float32)


def to_crop_units(pixels: NDArray[np.float32], crop: Crop) -> NDArray[np.float32]:
    """Landmarks (..., 3) in pixels of the frame, in units of the crop: [-1, 1] over it."""
    centre = np.array([crop.x, crop.y, 0], np.float32)
    return np.asarray((pixels - centre) * np.float32(2 / crop.side), np.float32)


def shot_crops(
    points: NDArray[np.float32], present: NDArray[np.bool_], width: int, height: int, shortest: int = 12
) -> list[tuple[slice, Crop]]:
    """One fixed crop for the whole shot, or several in time where the head travels out of it.

    points    float32 (T, 478, 3) in pixels; present bool (T,)
    Returns   (frames, crop) of each stretch; stretches shorter than `shortest` frames are left out.
    A crop lies inside the frame; see `model.face.crop.covering_crop`.
    """
    stretches: list[tuple[slice, Crop]] = []
    start, boxes = 0, np.empty((0, 4))
    for i in range(len(points) + 1):
        box = _face_box(points[i]) if i < len(points) and present[i] else None
        grown = boxes if box is None else np.concatenate([boxes, box[None]])
        if i == len(points) or (len(grown) and not _fits(grown)):
            if i - start >= shortest and len(boxes):
                stretches.append((slice(start, i), covering_crop(boxes[:, [0, 1, 3]], width, height)))
            start, grown = i, np.empty((0, 4)) if box is None else box[None]
        boxes = grown
    return stretches


def _face_box(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre x, centre y, half width, face height of the face in pixels."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    tall = max(float(np.linalg.norm(points[CHIN] - points[FOREHEAD])), float(high[1] - low[1]) * 0.9)
    return np.array([*((low + high) / 2), (high[0] - low[0]) / 2, tall])


def _fits(boxes: NDArray[np.float64]) -> bool:
    """Whether one crop serves: the head's travel stays within 0.7 face heights, its size within a factor of 1.5."""
    tall = float(np.median(boxes[:, 3]))
    travel = np.ptp(boxes[:, :2], axis=0).max()
    low, high = np.percentile(boxes[:, 3], [5, 95])
    return bool(travel <= 0.7 * tall and high <= 1.5 * low)
