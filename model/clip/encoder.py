"""A video file to a `.vav` file: the sending half of the codec as a file tool (`python -m model encode`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.clip.motion import clip_motion, registration_steps
from model.clip.mouth_patches import PATCH, MouthPatches, mouth_patch
from model.clip.refinement import REFINE_EVERY
from model.clip.scenes import Scene, find_scenes
from model.clip.source_trial import Candidate, best_source, trial_steps
from model.clip.windows import drawing_steps, drawn_windows
from model.codec.encoder import MotionEncoder
from model.codec.quantise import MAX_STEP_INDEX
from model.codec.rate import Rate
from model.codec.source_image import encode_source
from model.codec.statistics import MotionStatistics
from model.codec.trellis import clip_levels
from model.codec.vav import AUDIO_RATE, AudioPacket, Vav, VavHeader, VavWriter, read_vav
from model.codec.window import encode_window
from model.errors import InputError, NoFaceError
from model.face.finder import HeadFinder
from model.frame_extractor import FrameExtractor
from model.media.atomic_file import check_place, complete_file
from model.media.video import (
    OPUS_PRE_SKIP,
    OpusPacket,
    TimedFrame,
    VideoWriter,
    audio_channels,
    check_video,
    check_video_name,
    constant_rate,
    encode_opus,
    read_audio,
    read_frames,
)
from model.motion import Motion
from model.registration.similarity import THUMBNAIL, thumbnail
from model.source.clip_choice import SourceSearch
from model.source.mouth_choice import mouth_points
from model.source.window_search import WindowSearch
from model.talking_head import TalkingHead
from model.window import Window, eyes, mouth

FRAMES_PER_MESSAGE = 25
"""A message of a file holds a second: its header costs half a byte a frame, and a cut file loses less than a second."""

STEP_INDEX = -5
"""Step .42: pictures differ from the film by less than 2 % more (LPIPS) than without any rounding."""

KBPS = 5.0
"""Motion that would take more gets a coarser step, but none that spoils the picture: the first frame of a short clip
outweighs the others."""

COARSEST_STEP_INDEX = 2

_Item = TypeVar("_Item")


class Progress(Protocol):
    """Wraps an iteration, given what it does and how many items there are."""

    def __call__(self, items: Iterable[_Item], what: str, total: int | None) -> Iterable[_Item]: ...


def no_progress(items: Iterable[_Item], what: str, total: int | None) -> Iterable[_Item]:
    """Shows nothing."""
    return items


@dataclass(frozen=True)
class EncodeOptions:
    """What `encode` may be asked for."""

    step_index: int | None = None  # None: STEP_INDEX, or what KBPS asks for, if there is no other bound
    kbps: float | None = None  # motion payload; the finest step that keeps it is taken, none finer than step_index
    audio: bool = True
    source_frame: int | None = None  # frame that becomes the source image; None: as `best_source` chooses
    source_quality: int | None = None  # None: as `model.codec.source_image.file_quality` says
    mouth_windows: int = mouth.MAX_WINDOWS  # beside each source image, at most; fewer where they would not help
    eye_windows: int = eyes.MAX_WINDOWS  # likewise


@dataclass(frozen=True)
class EncodeFiles:
    """The video to encode and the files to write; `check` makes them."""

    video: Path
    out: Path
    reference: Path | None  # for the coded crops, losslessly

    @classmethod
    def check(cls, video: Path, out: Path, reference: Path | None = None) -> EncodeFiles:
        """Whether the video can be read and the others be written, as far as that is known without a model.

        Raises InputError.
        """
        if not video.is_file():
            raise InputError(f"{video}: no such file")
        check_video(video)
        places = [place.resolve() for place in (video, out, reference) if place is not None]
        if len(set(places)) < len(places):
            raise InputError("input, output and reference must be different files")
        check_place(out)
        if reference is not None:
            check_video_name(reference, lossless=True)
            check_place(reference)
        return cls(video, out, reference)


@dataclass(frozen=True)
class _Extracted:
    """A clip as motion."""

    motions: Motion  # (T,)
    times: list[Fraction]  # seconds
    duration: Fraction  # of all
    sources: list[NDArray[np.uint8]]  # (S, S, 3) each, S one of the profile's sizes
    windows: list[list[Window]]  # beside each source
    driven: list[int]  # (T,) which source each frame drives


def encode_clip(
    head: TalkingHead, files: EncodeFiles, options: EncodeOptions, progress: Progress = no_progress
) -> tuple[Vav, int]:
    """Encode a video file; returns what was written and the step index used.

    Raises InputError for an unreadable video, FaceError when no single face can be followed in it. Nothing is left at
    `files.out` or `files.reference` then.
    """
    path = files.video
    finder = HeadFinder()
    scenes, frame_size, times = _survey(path, finder, progress)
    crop = scenes[0].crop
    rate = constant_rate(times)
    channels = audio_channels(path) if options.audio else 0
    with ExitStack() as stack:
        out_part = stack.enter_context(complete_file(files.out))
        extracted = _extract(head, finder, files, scenes, rate, options, progress)
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
            for index, source in enumerate(extracted.sources):
                writer.source(index, encode_source(source, options.source_quality))
                for window in extracted.windows[index]:
                    writer.window(index, encode_window(window))
            _interleave(writer, messages, packets, extracted.times)
            writer.end(len(extracted.times), round(extracted.duration * 1000))
    return read_vav(files.out), step_index


def _survey(path: Path, finder: HeadFinder, progress: Progress) -> tuple[list[Scene], tuple[int, int], list[Fraction]]:
    """First pass: scenes and where the head is in them, the size of the video (width, height), times of its frames."""
    times: list[Fraction] = []
    size = (0, 0)

    def noted() -> Iterator[TimedFrame]:
        nonlocal size
        for timed in progress(read_frames(path), "find head", None):
            size = timed.size or size
            times.append(timed.time)
            yield timed

    scenes = find_scenes(noted(), finder)
    if not scenes:
        raise InputError(f"{path}: no frames in it")
    return scenes, size, times


def _extract(
    head: TalkingHead,
    finder: HeadFinder,
    files: EncodeFiles,
    scenes: list[Scene],
    rate: Fraction | None,
    options: EncodeOptions,
    progress: Progress,
) -> _Extracted:
    """Second pass: the motion of every frame, and which are the source images; writes the reference."""
    path, size, count = files.video, head.profile.size, scenes[-1].end
    if options.source_frame is not None and not 0 <= options.source_frame < count:
        raise InputError(f"source frame {options.source_frame} is not one of the {count} frames of {path}")
    motions: list[Motion] = []
    sources: list[NDArray[np.uint8]] = []
    windows: list[list[Window]] = []
    times: list[Fraction] = []
    driven: list[int] = []
    end = Fraction(0)
    with ExitStack() as stack:
        reference = None
        if files.reference is not None:
            part = stack.enter_context(complete_file(files.reference))
            reference = stack.enter_context(VideoWriter(part, (size, size), rate, lossless=True))

        def noted(frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
            nonlocal end
            for timed in frames:
                times.append(timed.time)
                end = timed.time + timed.duration
                yield timed

        frames = noted(progress(read_frames(path), "extract motion", count))
        for scene in scenes:
            motion, source, beside = _extract_scene(
                head, finder, path, scene, islice(frames, scene.end - scene.begin), reference, options, progress
            )
            driven += [len(sources)] * (scene.end - scene.begin)
            motions.append(motion)
            sources.append(source)
            windows.append(beside)
        for _ in frames:  # to its end, so that its progress ends, too
            pass
    duration = Fraction(len(times) / rate if rate else end)
    return _Extracted(Motion.concatenate(motions), times, duration, sources, windows, driven)


def _extract_scene(
    head: TalkingHead,
    finder: HeadFinder,
    path: Path,
    scene: Scene,
    frames: Iterable[TimedFrame],
    reference: VideoWriter | None,
    options: EncodeOptions,
    progress: Progress,
) -> tuple[Motion, NDArray[np.uint8], list[Window]]:
    """Motion (T,) of one scene, its source image (S, S, 3) and the windows beside that.

    What has moved since the source image is measured once that is known, on pictures kept in files. Frames
    without a face are left out of that, and hold the motion of the one before.
    """
    count = scene.end - scene.begin
    wanted = options.source_frame if options.source_frame in range(scene.begin, scene.end) else None
    search, extractor = SourceSearch(count, finder), FrameExtractor(head)
    places = WindowSearch(options.mouth_windows, options.eye_windows)
    extracted: list[Motion] = []
    faces: list[int] = []  # frames of the scene that show one
    began, end = Fraction(0), Fraction(0)
    size = head.profile.size
    corners: list[tuple[int, int]] = []
    with TemporaryFile() as small, TemporaryFile() as some, TemporaryFile() as mouths:
        for index, timed in enumerate(frames):
            began = timed.time if index == 0 else began
            end = timed.time + timed.duration
            picture, motion = extractor.extract(timed.rgb(), scene.crop)
            if reference is not None:
                reference.frame(picture, timed.time, timed.duration)
            here = scene.begin + index
            if here != wanted and (here in scene.faceless or not (extractor.measured or finder.find(picture))):
                continue
            faces.append(index)
            extracted.append(motion)
            if wanted is None:
                search.consider(index, picture, motion, extractor.canonical, extractor.measured)
            if head.has_landmarks:
                places.consider(picture, extractor.canonical, motion, extractor.measured)
                patch, corner = mouth_patch(picture, mouth_points(extractor.canonical, motion))
                mouths.write(patch.tobytes())
                corners.append(corner)
            small.write(thumbnail(picture).tobytes())
            if len(faces) % REFINE_EVERY == 1:
                some.write(picture.tobytes())
        chosen = search.candidates() if wanted is None else [wanted - scene.begin]
        if not chosen:
            raise NoFaceError(f"{path}: no frame shows a face that could become the source image")
        small.flush()
        some.flush()
        mouths.flush()
        pictures = np.memmap(some, np.uint8, "r", shape=(-(-len(faces) // REFINE_EVERY), size, size, 3))
        thumbnails = np.memmap(small, np.uint8, "r", shape=(len(faces), THUMBNAIL, THUMBNAIL))
        motion_of_faces = Motion.stack(extracted)
        images = _crops(head, path, scene, set(chosen), "cut source images", progress)
        candidates = [Candidate(faces.index(index), images[index]) for index in chosen]
        step = _steps(progress, "choose source image", trial_steps(head, len(candidates), len(faces)))
        source, state = best_source(head, candidates, thumbnails, motion_of_faces, extractor.canonical, step)
        found = places.best(source.index, source.image)
        missing = {faces[place.frame] for place in found} - images.keys()
        shown = images | _crops(head, path, scene, missing, "cut windows", progress)
        frame_rate = count / float(max(end - began, Fraction(1, 1000)))
        step = _steps(progress, "register", registration_steps(head, len(faces)))
        motions = clip_motion(
            head,
            thumbnails,
            motion_of_faces,
            source.index,
            state,
            frame_rate,
            extractor.canonical,
            pictures,
            step,
        )
        windows: list[Window] = []
        if found:
            squares = np.memmap(mouths, np.uint8, "r", shape=(len(faces), PATCH, PATCH, 3))
            patches = MouthPatches(squares, np.array(corners), size)
            step = _steps(progress, "lay lips", drawing_steps(len(faces)))
            bare = places.bare_mouths()
            beside = {place.frame: shown[faces[place.frame]] for place in found}
            windows, motions = drawn_windows(
                found, beside, motions, state.keypoints(), thumbnails, patches, source.index, bare, step
            )
    held = np.clip(np.searchsorted(faces, np.arange(count), side="right") - 1, 0, None)
    return motions.map(lambda values: values[held]), source.image, windows


def _crops(
    head: TalkingHead, path: Path, scene: Scene, wanted: set[int], what: str, progress: Progress
) -> dict[int, NDArray[np.uint8]]:
    """Some of a scene's crops by their number in it, (S, S, 3), S as large as the film has it and the model takes it.

    Another reading of the film, up to the last of them: their choice needs all frames, which memory would not hold.
    """
    if not wanted:
        return {}
    size, until = head.profile.source_size(scene.crop.side), scene.begin + max(wanted) + 1
    again = islice(progress(islice(read_frames(path), until), what, until), scene.begin, None)
    return {index: scene.crop.cut(timed.rgb(), size) for index, timed in enumerate(again) if index in wanted}


def _steps(progress: Progress, what: str, total: int) -> Callable[[], object]:
    """Shows something that takes so many steps; call what it returns at each."""
    steps = iter(progress(repeat(None), what, total) if total else ())
    return lambda: next(steps, None)


def _encode_motion(
    statistics: MotionStatistics, clip: _Extracted, options: EncodeOptions
) -> tuple[int, list[tuple[int, bytes]]]:
    """Step index and messages, each with the index of its last frame."""
    low = STEP_INDEX if options.step_index is None else options.step_index
    best = _messages(statistics, clip, low)
    kbps, high = options.kbps, MAX_STEP_INDEX
    if kbps is None and options.step_index is None:
        kbps, high = KBPS, COARSEST_STEP_INDEX
    if kbps is None or _kbps(best, clip) <= kbps:
        return low, best
    best = _messages(statistics, clip, high)
    if options.kbps is not None and _kbps(best, clip) > kbps:
        raise InputError(f"motion of this clip takes at least {_kbps(best, clip):.2f} kbit/s")
    while high - low > 1:  # the rate falls as the step grows, so halving the interval finds the finest step that fits
        middle = (low + high) // 2
        messages = _messages(statistics, clip, middle)
        if _kbps(messages, clip) <= kbps:
            high, best = middle, messages
        else:
            low = middle
    return high, best


def _messages(statistics: MotionStatistics, clip: _Extracted, step_index: int) -> list[tuple[int, bytes]]:
    # Epoch 0: the same clip gives the same bytes.
    encoder = MotionEncoder(statistics, Rate(step_index, frames_per_message=FRAMES_PER_MESSAGE), chain=True, epoch=0)
    capture_ms = [round(time * 1000) for time in clip.times]
    messages = []
    for index, levels in enumerate(clip_levels(statistics, clip.motions.to_vector(), capture_ms, step_index)):
        if (message := encoder.encode_levels(levels, capture_ms[index], clip.driven[index])) is not None:
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
