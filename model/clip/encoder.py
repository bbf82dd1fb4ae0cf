"""A video file to a `.vav` file: the sending half of the codec as a file tool (`python -m model encode`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from model.clip.motion import clip_motion
from model.codec.encoder import MotionEncoder
from model.codec.quantise import MAX_STEP_INDEX
from model.codec.rate import Rate
from model.codec.source_image import encode_source
from model.codec.statistics import MotionStatistics
from model.codec.vav import AUDIO_RATE, AudioPacket, Vav, VavHeader, VavWriter, read_vav
from model.errors import InputError, NoFaceError
from model.face.crop import Crop
from model.face.finder import HeadFinder, clip_crop
from model.frame_extractor import FrameExtractor
from model.media.atomic_file import complete_file
from model.media.video import (
    OPUS_PRE_SKIP,
    OpusPacket,
    TimedFrame,
    VideoWriter,
    audio_channels,
    constant_rate,
    encode_opus,
    read_audio,
    read_frames,
)
from model.motion import Motion
from model.registration.similarity import THUMBNAIL, thumbnail
from model.source.clip_choice import SourceSearch
from model.talking_head import TalkingHead

FRAMES_PER_MESSAGE = 25
"""A message of a file holds a second: its header costs half a byte a frame, and a cut file loses less than a second."""

CROP_EVERY = 5
"""The head is searched in each fifth frame."""

Progress = Callable[[Iterable[TimedFrame], str, int | None], Iterable[TimedFrame]]
"""Wraps an iteration over frames, given what it does and how many there are."""


def no_progress(frames: Iterable[TimedFrame], what: str, total: int | None) -> Iterable[TimedFrame]:
    """Shows nothing."""
    return frames


@dataclass(frozen=True)
class EncodeOptions:
    """What `encode` may be asked for."""

    step_index: int = -4  # half the units: under a third of a pixel of 256 on average
    kbps: float | None = None  # motion payload; the finest step that keeps it is taken, none finer than step_index
    audio: bool = True
    source_frame: int | None = None  # frame that becomes the source image; None: as `SourceSearch` chooses
    source_quality: int | None = None  # None: as `model.codec.source_image.file_quality` says
    reference: Path | None = None  # where to write the coded crops losslessly


@dataclass(frozen=True)
class _Extracted:
    """A clip as motion."""

    motions: Motion  # (T,)
    times: list[Fraction]  # seconds
    duration: Fraction  # of all
    source: NDArray[np.uint8]  # (S, S, 3), S one of the profile's sizes


def encode_clip(
    head: TalkingHead, path: Path, out: Path, options: EncodeOptions, progress: Progress = no_progress
) -> tuple[Vav, int]:
    """Encode a video file; returns what was written and the step index used.

    Raises InputError for an unreadable video, FaceError when no single face can be followed in it. Nothing is left at
    `out` or `options.reference` then.
    """
    _check_places(path, out, options.reference)
    crop, frame_size, times = _survey(path, progress)
    rate = constant_rate(times)
    channels = audio_channels(path) if options.audio else 0
    with ExitStack() as stack:
        out_part = stack.enter_context(complete_file(out))
        extracted = _extract(head, path, crop, rate, options, len(times), progress)
        step_index, messages = _encode_motion(head.statistics, extracted, options)
        header = VavHeader(
            profile=head.profile.name,
            keypoints=head.profile.keypoints,
            size=head.profile.size,
            weights=bytes.fromhex(head.weights_hash),
            rate=rate,
            frame_width=frame_size[0],
            frame_height=frame_size[1],
            crop_x=crop.x,
            crop_y=crop.y,
            crop_side=crop.side,
            audio_channels=channels,
            audio_pre_skip=OPUS_PRE_SKIP if channels else 0,
        )
        packets = encode_opus(read_audio(path, channels, extracted.duration), channels) if channels else iter(())
        with VavWriter(out_part, header) as writer:
            writer.source(0, encode_source(extracted.source, options.source_quality))
            _interleave(writer, messages, packets, extracted.times)
            writer.end(len(extracted.times), round(extracted.duration * 1000))
    return read_vav(out), step_index


def _check_places(path: Path, out: Path, reference: Path | None) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    places = [place.resolve() for place in (path, out, reference) if place is not None]
    if len(set(places)) < len(places):
        raise InputError("input, output and reference must be different files")


def _survey(path: Path, progress: Progress) -> tuple[Crop, tuple[int, int], list[Fraction]]:
    """First pass: where the head is, the size of the video (width, height), the times of its frames."""
    times: list[Fraction] = []
    size = (0, 0)

    def sampled() -> Iterator[NDArray[np.uint8]]:
        nonlocal size
        for timed in progress(read_frames(path), "find head", None):
            if len(times) % CROP_EVERY == 0:
                picture = timed.rgb()
                size = (picture.shape[1], picture.shape[0])
                yield picture
            times.append(timed.time)

    crop = clip_crop(sampled(), HeadFinder(), every=1)
    if not times:
        raise InputError(f"{path}: no frames in it")
    return crop, size, times


def _extract(
    head: TalkingHead,
    path: Path,
    crop: Crop,
    rate: Fraction | None,
    options: EncodeOptions,
    count: int,
    progress: Progress,
) -> _Extracted:
    """Second pass: the motion of every frame, and which is the source image; writes the reference.

    What has moved since the source image is measured once that is known, on small pictures kept in a file.
    """
    size = head.profile.size
    if options.source_frame is not None and not 0 <= options.source_frame < count:
        raise InputError(f"source frame {options.source_frame} is not one of the {count} frames of {path}")
    search, extractor = SourceSearch(count), FrameExtractor(head)
    extracted: list[Motion] = []
    times: list[Fraction] = []
    end = Fraction(0)
    with ExitStack() as stack:
        small = stack.enter_context(TemporaryFile())
        reference = None
        if options.reference is not None:
            part = stack.enter_context(complete_file(options.reference))
            reference = stack.enter_context(VideoWriter(part, (size, size), rate, lossless=True))
        for timed in progress(read_frames(path), "extract motion", count):
            picture, motion = extractor.extract(timed.rgb(), crop)
            extracted.append(motion)
            if options.source_frame is None:
                search.consider(len(times), picture, motion, extractor.canonical, extractor.measured)
            if reference is not None:
                reference.frame(picture, timed.time, timed.duration)
            small.write(thumbnail(picture).tobytes())
            times.append(timed.time)
            end = timed.time + timed.duration
        chosen = search.best() if options.source_frame is None else options.source_frame
        if chosen is None:
            raise NoFaceError(f"{path}: no frame shows a face that could become the source image")
        motions = Motion.stack(extracted)
        small.flush()
        thumbnails = np.memmap(small, np.uint8, "r", shape=(len(times), THUMBNAIL, THUMBNAIL))
        duration = Fraction(len(times) / rate if rate else end)
        # A third reading, up to the source image: its choice needs all frames, and they would not fit into memory.
        source = crop.cut(next(islice(read_frames(path), chosen, None)).rgb(), head.profile.source_size(crop.side))
        frame_rate = len(times) / float(duration)
        motions = clip_motion(head, thumbnails, motions, chosen, source, frame_rate, extractor.canonical)
    return _Extracted(motions, times, duration, source)


def _encode_motion(
    statistics: MotionStatistics, clip: _Extracted, options: EncodeOptions
) -> tuple[int, list[tuple[int, bytes]]]:
    """Step index and messages, each with the index of its last frame."""
    low, high = options.step_index, options.step_index if options.kbps is None else MAX_STEP_INDEX
    best = _messages(statistics, clip, low)
    if options.kbps is None or _kbps(best, clip) <= options.kbps:
        return low, best
    best = _messages(statistics, clip, high)
    if _kbps(best, clip) > options.kbps:
        raise InputError(f"motion of this clip takes at least {_kbps(best, clip):.2f} kbit/s")
    while high - low > 1:  # the rate falls as the step grows, so halving the interval finds the finest step that fits
        middle = (low + high) // 2
        messages = _messages(statistics, clip, middle)
        if _kbps(messages, clip) <= options.kbps:
            high, best = middle, messages
        else:
            low = middle
    return high, best


def _messages(statistics: MotionStatistics, clip: _Extracted, step_index: int) -> list[tuple[int, bytes]]:
    # Epoch 0: the same clip gives the same bytes.
    encoder = MotionEncoder(statistics, Rate(step_index, frames_per_message=FRAMES_PER_MESSAGE), chain=True, epoch=0)
    messages = []
    for index, (vector, time) in enumerate(zip(clip.motions.to_vector(), clip.times, strict=True)):
        if (message := encoder.encode(vector, round(time * 1000))) is not None:
            messages.append((index, message))
    if (message := encoder.flush()) is not None:
        messages.append((len(clip.times) - 1, message))
    return messages


def _kbps(messages: list[tuple[int, bytes]], clip: _Extracted) -> float:
    return sum(len(message) for _, message in messages) * 8 / 1000 / float(clip.duration)


def _interleave(
    writer: VavWriter, messages: list[tuple[int, bytes]], packets: Iterator[OpusPacket], times: list[Fraction]
) -> None:
    """Write motion and sound by time, so that a file that is cut has both up to the cut."""
    waiting = next(packets, None)
    for index, message in messages:
        writer.motion(message)
        until = round(times[index] * AUDIO_RATE)
        block: list[AudioPacket] = []
        while waiting is not None and waiting.start <= until:
            block.append(AudioPacket(waiting.start, waiting.duration, waiting.data))
            if len(block) == 250:  # five seconds: between the messages of a clip with long still frames
                writer.audio(block)
                block = []
            waiting = next(packets, None)
        writer.audio(block)
    rest = [] if waiting is None else [waiting, *packets]
    for start in range(0, len(rest), 250):
        writer.audio([AudioPacket(p.start, p.duration, p.data) for p in rest[start : start + 250]])
