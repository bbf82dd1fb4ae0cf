"""A `.vav` file to a video file: the receiving half of the codec as a file tool (`python -m model decode`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from model.codec.decoder import DecodedFrame, MotionDecoder
from model.codec.mouth_window import decode_window
from model.codec.source_image import decode_source
from model.codec.statistics import MotionStatistics
from model.codec.vav import AUDIO_RATE, Vav, VavHeader, read_vav
from model.errors import BitstreamError, InputError, WeightsError
from model.face.finder import still_crop
from model.media.atomic_file import check_place, complete_file
from model.media.picture import read_picture
from model.media.video import VideoWriter, check_video_name
from model.motion import Motion, View, transfer
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.temporal_filter import FrameTime, TemporalFilter

BATCH = 16

ProgressCount = Callable[[int, int], None]
"""Takes how many more frames are done, and of how many."""


@dataclass(frozen=True)
class Decoded:
    """What `decode` wrote."""

    frames: int
    seconds: float
    complete: bool  # False: the file was cut


def decode_clip(
    head: TalkingHead,
    path: Path,
    out: Path,
    view: View,
    source: Path | None = None,
    progress: ProgressCount | None = None,
    size: int | None = None,
) -> Decoded:
    """Render a `.vav` file to a video file, seen from `view`; `source` puts another face in place of the recorded one.

    size: side of the pictures, one of the profile's; None: the networks' own.

    Raises InputError, FaceError (`source`), BitstreamError, or WeightsError when the file needs other weights.
    """
    vav = check_decoding(path, out, source)
    _check_model(head, vav.header, path)
    frames = _decode_motion(head.statistics, vav, path)
    if not frames:
        raise BitstreamError(f"{path}: cut before the end of its first second of motion")
    states = {index: _enrol(head, vav, index, path) for index in vav.sources}
    avatar = None if source is None else _enrol_still(head, source)
    times = _times(vav, frames)
    size = head.profile.size if size is None else size
    if size not in head.profile.sizes:
        raise InputError(f"the profile {head.profile.name} renders {_or(head.profile.sizes)} pixels, not {size}")
    channels = vav.header.audio_channels if vav.audio else 0
    with (
        complete_file(out) as part,
        VideoWriter(part, (size, size), vav.header.rate, audio_channels=channels) as writer,
    ):
        sound = iter(vav.audio)
        waiting = next(sound, None)
        first = _motion(frames[:1])
        view_filter = TemporalFilter()
        for start in range(0, len(frames), BATCH):
            batch = frames[start : start + BATCH]
            motion = _motion(batch)
            if avatar is not None:
                motion = transfer(motion, first, avatar.motion.to_numpy())
            driven = [states[f.source] if avatar is None else avatar for f in batch]
            shown_at = [FrameTime(view_filter, float(at)) for at in times[start : start + len(batch)]]
            pictures = head.render(driven, motion.to_torch(), [view] * len(batch), shown_at, size)
            for index, picture in enumerate(pictures.permute(0, 2, 3, 1).cpu().numpy(), start):
                while waiting is not None and waiting.start <= times[index] * AUDIO_RATE:
                    writer.sound(waiting.start, waiting.duration, waiting.data)
                    waiting = next(sound, None)
                writer.frame(picture, times[index], times[index + 1] - times[index])
            if progress is not None:
                progress(len(batch), len(frames))
        while waiting is not None and waiting.start < times[-1] * AUDIO_RATE:
            writer.sound(waiting.start, waiting.duration, waiting.data)
            waiting = next(sound, None)
    return Decoded(len(frames), float(times[-1]), vav.complete)


def check_decoding(path: Path, out: Path, source: Path | None = None) -> Vav:
    """What is read of a `.vav` file, and whether the rest of `decode_clip` has its places, which needs no model.

    Raises InputError and BitstreamError.
    """
    if out.resolve() == path.resolve():
        raise InputError("input and output must be different files")
    vav = read_vav(path)
    check_video_name(out)
    check_place(out)
    if source is not None:
        read_picture(source)
    return vav


def _check_model(head: TalkingHead, header: VavHeader, path: Path) -> None:
    if header.weights.hex() != head.weights_hash:
        raise WeightsError(
            f"{path} was made with weights {header.weights.hex()[:12]} of profile {header.profile}, "
            f"these are {head.weights_hash[:12]} of {head.profile.name}"
        )
    if (header.profile, header.keypoints, header.size) != (
        head.profile.name,
        head.profile.keypoints,
        head.profile.size,
    ):
        raise BitstreamError(f"{path}: its header does not fit its weights")


def _decode_motion(statistics: MotionStatistics, vav: Vav, path: Path) -> list[DecodedFrame]:
    decoder = MotionDecoder(statistics)
    frames: list[DecodedFrame] = []
    for message in vav.messages:
        try:
            decoded = decoder.decode(message)
        except BitstreamError as error:
            raise BitstreamError(f"{path}: {error}") from None
        if not decoded:
            raise BitstreamError(f"{path}: motion refers to frames that are not there")
        frames.extend(decoded)
    return frames


def _times(vav: Vav, frames: list[DecodedFrame]) -> list[Fraction]:
    """Time of each frame in seconds, and of the end: one more than frames."""
    rate = vav.header.rate
    if rate is not None:
        return [index / rate for index in range(len(frames) + 1)]
    first = frames[0].capture_ms
    times = [Fraction((frame.capture_ms - first) & 0xFFFFFFFF, 1000) for frame in frames]
    mean = times[-1] / max(1, len(times) - 1)
    end = times[-1] + mean if vav.duration_ms is None else max(times[-1], Fraction(vav.duration_ms, 1000))
    return [*times, end]


def _motion(frames: list[DecodedFrame]) -> Motion:
    return Motion.from_vector(np.stack([frame.vector for frame in frames]))


def _or(sizes: tuple[int, ...]) -> str:
    return " or ".join(map(str, sizes))


def _picture(data: bytes, sizes: tuple[int, ...], path: Path) -> torch.Tensor:
    try:
        picture = decode_source(data)
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from None
    height, width, _ = picture.shape
    if height != width or width not in sizes:
        raise BitstreamError(f"{path}: source image of {width} x {height} pixels, not {_or(sizes)}")
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)


def _enrol(head: TalkingHead, vav: Vav, index: int, path: Path) -> SourceState:
    """A source image of the file with the mouth windows beside it."""
    state = head.enrol(_picture(vav.sources[index], head.profile.sizes, path))
    try:
        windows = [decode_window(data) for data in vav.windows.get(index, ())]
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from None
    return head.with_windows(state, windows)


def _enrol_still(head: TalkingHead, path: Path) -> SourceState:
    """Source state of the one face in an image file."""
    picture = read_picture(path)
    crop = still_crop(picture)
    cut = crop.cut(picture, head.profile.source_size(crop.side))
    return head.enrol(torch.from_numpy(cut.copy()).permute(2, 0, 1))
