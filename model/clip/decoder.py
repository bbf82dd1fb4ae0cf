"""A `.vav` file to a video file: the receiving half of the codec as a file tool (`python -m model decode`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.clip.size import rendered_side, scaled
from model.codec.decoder import DecodedFrame, MotionDecoder
from model.codec.source_image import decode_source
from model.codec.statistics import MotionStatistics
from model.codec.vav import AUDIO_RATE, Vav, VavHeader
from model.codec.window import decode_window
from model.errors import BitstreamError, InputError, WeightsError
from model.face.finder import still_crop
from model.media.atomic_file import check_place, complete_file
from model.media.content_credentials import SigningFiles, check_signing, sign
from model.media.face_mark import FaceMark, marked
from model.media.picture import read_picture
from model.media.provenance import Provenance, append_xmp
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


@dataclass(frozen=True)
class DecodeFiles:
    """What is decoded, and the video file to write; `check` makes them."""

    path: Path
    vav: Vav
    out: Path
    face: NDArray[np.uint8] | None  # (H, W, 3) RGB, a picture whose face takes the place of the recorded one
    signing: SigningFiles | None = None  # whose signature the video gets (C2PA); None: nobody's

    @classmethod
    def check(
        cls, path: Path, vav: Vav, out: Path, face: Path | None = None, signing: SigningFiles | None = None
    ) -> DecodeFiles:
        """Read the picture, and see whether the video can be written and signed; needs no model.

        vav: what was read of `path`. Raises InputError.
        """
        if out.resolve() == path.resolve():
            raise InputError("input and output must be different files")
        check_video_name(out)
        check_place(out)
        if signing is not None:
            check_signing(signing, out)
        return cls(path, vav, out, None if face is None else read_picture(face), signing)


def decode_clip(
    head: TalkingHead,
    files: DecodeFiles,
    view: View,
    progress: ProgressCount | None = None,
    size: int | None = None,
    *,
    mark: bool = True,
) -> Decoded:
    """Render a `.vav` file to a video file, seen from `view`.

    size: side of the pictures; None: the networks' own.
    mark: draw into every picture that it is rendered, or an avatar. The file's metadata says so in any case.

    Raises InputError, FaceError (the other face), BitstreamError, or WeightsError when the file needs other weights.
    """
    path, vav = files.path, files.vav
    check_model(head, vav.header, path)
    size = head.profile.size if size is None else size
    rendered = rendered_side(head.profile.sizes, size)
    frames = _decode_motion(head.statistics, vav, path)
    if not frames:
        raise BitstreamError(f"{path}: cut before the end of its first second of motion")
    states = _states(head, vav, path)
    avatar = None if files.face is None else _enrol_still(head, files.face)
    times = _times(vav, frames)
    channels = vav.header.audio_channels if vav.audio else 0
    face_mark: FaceMark = "rendered" if avatar is None else "avatar"
    provenance = Provenance(head.profile.name, head.weights_hash, avatar is not None, channels > 0)
    with (
        published(files.out, provenance, files.signing) as part,
        VideoWriter(part, (size, size), vav.header.rate, audio_channels=channels, tags=provenance.tags()) as writer,
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
            pictures = head.render(driven, motion.to_torch(), [view] * len(batch), shown_at, rendered)
            for index, picture in enumerate(pictures.permute(0, 2, 3, 1).cpu().numpy(), start):
                while waiting is not None and waiting.start <= times[index] * AUDIO_RATE:
                    writer.sound(waiting.start, waiting.duration, waiting.data)
                    waiting = next(sound, None)
                picture = scaled(picture, size)
                shown = marked(picture, face_mark) if mark else picture
                writer.frame(shown, times[index], times[index + 1] - times[index])
            if progress is not None:
                progress(len(batch), len(frames))
        while waiting is not None and waiting.start < times[-1] * AUDIO_RATE:
            writer.sound(waiting.start, waiting.duration, waiting.data)
            waiting = next(sound, None)
    return Decoded(len(frames), float(times[-1]), vav.complete)


@contextmanager
def published(out: Path, provenance: Provenance, signing: SigningFiles | None) -> Iterator[Path]:
    """A name to write a video to; at the end it gets its XMP packet and its signature and takes the place of `out`."""
    with complete_file(out) as complete:
        if signing is None:
            yield complete
            _describe(complete, provenance)
            return
        with complete_file(complete.with_name(f".unsigned{complete.suffix}")) as unsigned:
            yield unsigned
            _describe(unsigned, provenance)
            sign(unsigned, complete, signing, provenance)
            unsigned.unlink()


def _describe(path: Path, provenance: Provenance) -> None:
    if path.suffix.lower() == ".mp4":
        append_xmp(path, provenance)


def check_model(head: TalkingHead, header: VavHeader, path: Path) -> None:
    """Whether a file was made with that model. Raises WeightsError, BitstreamError."""
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
            decoded = decoder.decode(message.data)
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


def enrolled(head: TalkingHead, data: bytes, path: Path) -> SourceState:
    """Source state of an image of a file. Raises BitstreamError."""
    sizes = head.profile.sizes
    try:
        picture = decode_source(data)
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from None
    height, width, _ = picture.shape
    if height != width or width not in sizes:
        raise BitstreamError(f"{path}: source image of {width} x {height} pixels, not {_or(sizes)}")
    return head.enrol(torch.from_numpy(picture.copy()).permute(2, 0, 1))


def with_windows(head: TalkingHead, state: SourceState, windows: Sequence[bytes], path: Path) -> SourceState:
    """A source image with the windows of a file beside it. Raises BitstreamError."""
    try:
        return head.with_windows(state, [decode_window(data) for data in windows])
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from None


def _states(head: TalkingHead, vav: Vav, path: Path) -> dict[int, SourceState]:
    """States of a film's source images by source index: there each index stands for one image."""
    windows = vav.film_windows
    return {
        index: with_windows(head, enrolled(head, vav.images[number], path), windows.get(number, ()), path)
        for index, number in vav.messages[-1].images.items()
    }


def _enrol_still(head: TalkingHead, picture: NDArray[np.uint8]) -> SourceState:
    """Source state of the one face in a picture (H, W, 3)."""
    crop = still_crop(picture)
    cut = crop.cut(picture, head.profile.source_size(crop.side))
    return head.enrol(torch.from_numpy(cut.copy()).permute(2, 0, 1))
