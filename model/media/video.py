"""Video files in and out, through PyAV: frames with their times, sound as PCM and as Opus packets.

Knows nothing of faces, motion or the codec. Times are seconds after the first frame of the video, exact fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model.errors import InputError
from model.media.container import (
    LONGEST_GAP,
    LONGEST_RETURN,
    SteadyTime,
    decoded_pictures,
    decoded_sound,
    display_size,
    file_address,
    fitted,
    packets_of,
    picture_stream,
    rgb_picture,
    sound_stream,
)

AUDIO_RATE = 48_000
OPUS_FRAME = 960
"""Samples of a 20 ms packet."""

OPUS_BIT_RATES = {1: 24_000, 2: 32_000}
"""By channels: fullband speech, with some room (RFC 6716, section 2.1.1)."""

OPUS_PRE_SKIP = 312
"""Samples that libopus' encoder adds in front (RFC 7845, section 4.2)."""

MAX_FRAMES = 1_000_000
MAX_PAUSE = Fraction(24 * 3600)
"""Seconds without sound that are filled with silence where the picture goes on."""

_GAP = AUDIO_RATE // 10
"""Sound that is off its timestamps by more is filled with silence or cut; less is jitter of the container."""

_BT601, _LIMITED_RANGE = 6, 1  # what swscale makes of RGB; FFmpeg's AVCOL_SPC_SMPTE170M and AVCOL_RANGE_MPEG


def upright(picture: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) turned as its display matrix asks: phones film sideways and say how they were held.

    rotation: degrees counter-clockwise, as PyAV's `VideoFrame.rotation`; the nearest multiple of 90 is taken.
    """
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


@dataclass(frozen=True)
class TimedFrame:
    """A frame of a video."""

    time: Fraction  # seconds after the first frame
    duration: Fraction  # seconds, as far as the file tells
    frame: VideoFrame
    rotation: int  # degrees counter-clockwise by which the picture is to be turned, as `upright` takes them

    aspect: Fraction | None = None  # of the samples, width to height; None: square
    size: tuple[int, int] | None = None  # (width, height) of the upright first frame, which all of a video get

    def rgb(self) -> NDArray[np.uint8]:
        """The upright picture in square pixels, uint8 (H, W, 3); of the video's size where that changes midway."""
        picture = rgb_picture(self.frame, display_size(self.frame.width, self.frame.height, self.aspect))
        picture = upright(picture, self.rotation)
        return picture if self.size is None else fitted(picture, self.size)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        with av.open(file_address(path)) as container:
            yield container
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{path}: not a readable video ({reason})") from None


def check_video(path: Path) -> None:
    """Whether a video is there, so that this is told before long work. Raises InputError."""
    with _opened(path) as container:
        if picture_stream(container) is None:
            raise InputError(f"{path}: no video in it")


def read_frames(path: Path) -> Iterator[TimedFrame]:
    """All frames in the order of display, damaged ones left out. Times grow from one to the next.

    Raises InputError when the file is no readable video or too long.
    """
    with _opened(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise InputError(f"{path}: no video in it")
        stream.thread_type = "AUTO"
        step = 1 / Fraction(stream.average_rate or 25)
        aspect = stream.sample_aspect_ratio
        steady = SteadyTime(step)
        first: Fraction | None = None
        size: tuple[int, int] | None = None
        for index, frame in enumerate(decoded_pictures(container, stream)):
            if index >= MAX_FRAMES:
                raise InputError(f"{path}: more than {MAX_FRAMES} frames")
            time = steady.at(_stamp(frame))
            first = time if first is None else first
            if size is None:
                width, height = display_size(frame.width, frame.height, aspect)
                size = (height, width) if round(frame.rotation / 90) % 2 else (width, height)
            duration = Fraction(0)
            if frame.duration and frame.time_base is not None:
                duration = min(frame.duration * Fraction(frame.time_base), LONGEST_GAP)
            yield TimedFrame(time - first, duration or step, frame, frame.rotation, aspect, size)


def _stamp(frame: VideoFrame | AudioFrame) -> Fraction | None:
    """Timestamp in seconds of the file's own clock."""
    if frame.pts is None or frame.time_base is None:
        return None
    return frame.pts * Fraction(frame.time_base)


def constant_rate(times: Sequence[Fraction]) -> Fraction | None:
    """The frame rate when the times (N,) are those of a constant one within 2 ms, else None.

    Whole rates and the NTSC ones (30000/1001) are tried before the mean, because containers that count milliseconds
    show neither exactly: 0.033, 0.067, 0.100 is 30.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    mean = (len(times) - 1) / (times[-1] - times[0])
    ntsc = Fraction(round(mean * 1001 / 1000) * 1000, 1001)
    for rate in (Fraction(round(mean)), ntsc, mean.limit_denominator(1001)):
        if rate > 0 and all(abs(time - index / rate) <= Fraction(2, 1000) for index, time in enumerate(times)):
            return rate
    return None


def audio_channels(path: Path) -> int:
    """1 or 2, or 0 when the file has no sound. Raises InputError."""
    with _opened(path) as container:
        stream = sound_stream(container)
        return 0 if stream is None else min(2, stream.channels)


def read_audio(path: Path, channels: int, seconds: Fraction) -> Iterator[NDArray[np.float32]]:
    """Sound as float32 (n, channels) at 48 kHz, in pieces: from the first video frame on, `seconds` long, no gaps.

    Raises InputError.
    """
    first = next(iter(_first_times(path)), Fraction(0))
    remaining = round(seconds * AUDIO_RATE)
    position = 0  # samples given out
    with _opened(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise InputError(f"{path}: no sound in it")
        resampler = AudioResampler("flt", "mono" if channels == 1 else "stereo", AUDIO_RATE)
        # Where the picture's clock is whole, a gap in the sound is a pause.
        steady = SteadyTime(Fraction(OPUS_FRAME, AUDIO_RATE), LONGEST_GAP if _clock_jumps(path) else MAX_PAUSE)
        for source in _frames_then_none(container, stream):
            start = None
            if source is not None and (stamp := _stamp(source)) is not None:
                start = round((steady.at(stamp) - first) * AUDIO_RATE)
            for frame in resampler.resample(source):
                samples = frame.to_ndarray().reshape(-1, channels).astype(np.float32)
                if start is not None:
                    samples = _aligned(samples, start - position, position == 0)
                samples = samples[: remaining - position]
                position += len(samples)
                if len(samples):
                    yield samples
                if position >= remaining:
                    return
    while position < remaining:
        count = min(remaining - position, AUDIO_RATE)
        yield np.zeros((count, channels), np.float32)
        position += count


def _clock_jumps(path: Path) -> bool:
    """Whether the timestamps of the picture jump; reads packets without decoding them."""
    with _opened(path) as container:
        stream = picture_stream(container)
        if stream is None:
            return False
        before: Fraction | None = None
        for packet in packets_of(container, stream):
            if packet.dts is None or packet.time_base is None:
                continue
            stamp = packet.dts * Fraction(packet.time_base)
            if before is not None and not -LONGEST_RETURN <= stamp - before <= LONGEST_GAP:
                return True
            before = stamp
        return False


def _aligned(samples: NDArray[np.float32], ahead: int, beginning: bool) -> NDArray[np.float32]:
    """Samples with silence in front when they start `ahead` samples late, or without what comes too early."""
    if ahead > (0 if beginning else _GAP):
        return np.concatenate([np.zeros((min(ahead, 60 * AUDIO_RATE), samples.shape[1]), np.float32), samples])
    if ahead < (0 if beginning else -_GAP):
        return samples[-ahead:]
    return samples


def _first_times(path: Path) -> Iterator[Fraction]:
    """Time of the first video frame on the file's own clock."""
    with _opened(path) as container:
        stream = picture_stream(container)
        for frame in () if stream is None else decoded_pictures(container, stream):
            if (stamp := _stamp(frame)) is not None:
                yield stamp
            return


def _frames_then_none(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame | None]:
    """Decoded frames, then None, at which a resampler gives out what it holds back."""
    yield from decoded_sound(container, stream)
    yield None


@dataclass(frozen=True)
class OpusPacket:
    """A packet of Opus."""

    start: int  # samples at 48 kHz after the first video frame; the first lies OPUS_PRE_SKIP before it
    duration: int  # samples
    data: bytes


def encode_opus(pieces: Iterator[NDArray[np.float32]], channels: int) -> Iterator[OpusPacket]:
    """Opus packets of 20 ms of PCM pieces float32 (n, channels) at 48 kHz."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = AUDIO_RATE
    encoder.layout = "mono" if channels == 1 else "stereo"
    encoder.format = "flt"
    encoder.bit_rate = OPUS_BIT_RATES[channels]
    encoder.time_base = Fraction(1, AUDIO_RATE)
    held = np.zeros((0, channels), np.float32)
    written = 0

    def packets(samples: NDArray[np.float32] | None) -> Iterator[OpusPacket]:
        nonlocal written
        frame = None
        if samples is not None:
            frame = AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", encoder.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, written, Fraction(1, AUDIO_RATE)
            written += len(samples)
        for packet in encoder.encode(frame):
            assert packet.pts is not None
            yield OpusPacket(packet.pts, packet.duration or OPUS_FRAME, bytes(packet))

    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) >= OPUS_FRAME:
            yield from packets(np.ascontiguousarray(held[:OPUS_FRAME]))
            held = held[OPUS_FRAME:]
    if len(held):
        yield from packets(np.concatenate([held, np.zeros((OPUS_FRAME - len(held), channels), np.float32)]))
    yield from packets(None)


SUFFIXES = (".mp4", ".mkv", ".webm")
LOSSLESS_SUFFIXES = (".mkv",)
_H264: dict[str, object] = {"crf": "16", "preset": "medium"}
_VP9: dict[str, object] = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4"}


def check_video_name(path: Path, *, lossless: bool = False) -> None:
    """Whether a container that is written here has this suffix. Raises InputError, which says what suffixes do."""
    suffixes = LOSSLESS_SUFFIXES if lossless else SUFFIXES
    if path.suffix.lower() not in suffixes:
        kind = "a lossless video" if lossless else "a video"
        raise InputError(f"{path}: cannot be written as {kind}; give a name that ends in {' or '.join(suffixes)}")


def _codec(*, lossless: bool, vp9: bool) -> str:
    if lossless:
        return "ffv1"
    return "libvpx-vp9" if vp9 else "libx264"


class VideoWriter:
    """Writes one video file; its container follows from the suffix. Raises InputError when that cannot be written."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction | None,
        *,
        lossless: bool = False,
        audio_channels: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """`size` (width, height), even unless lossless; `rate` None: frames are shown at the times given.

        H.264 (CRF 16, yuv420p), VP9 in .webm, or FFV1 in RGB when `lossless`; sound comes as Opus packets.
        `tags` become the file's metadata, as far as its container knows them.
        """
        check_video_name(path, lossless=lossless)
        try:
            self._container = av.open(file_address(path), "w")
        except (av.error.FFmpegError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path}: cannot be written as a video ({reason})") from None
        self._container.metadata.update(tags or {})
        self._path = path
        self._time_base = 1 / rate if rate else Fraction(1, 1000)
        try:
            vp9 = path.suffix.lower() == ".webm"
            video = self._container.add_stream(_codec(lossless=lossless, vp9=vp9), rate=rate or 25)
            assert isinstance(video, VideoStream)
            self._audio = self._opus_stream(audio_channels) if audio_channels else None
        except (av.error.FFmpegError, ValueError) as error:
            self._container.close()
            raise InputError(f"{path}: cannot hold this video ({error})") from None
        video.width, video.height = size
        video.pix_fmt = "bgr0" if lossless else "yuv420p"
        video.codec_context.time_base = self._time_base
        video.codec_context.thread_count = 1
        if not lossless:
            video.options = dict(_VP9 if vp9 else _H264)
            video.codec_context.colorspace = _BT601
            video.codec_context.color_range = _LIMITED_RANGE
        self._video = video
        self._count = 0
        self._shown = -1  # pts of the last frame
        self._constant = rate is not None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._container.mux(self._video.encode(None))
                self._container.close()
            except (av.error.FFmpegError, OSError) as failure:
                raise self._unwritten(failure) from None
        else:
            with suppress(av.error.FFmpegError, OSError):  # the first error is the one to tell
                self._container.close()

    def frame(self, picture: NDArray[np.uint8], time: Fraction, duration: Fraction | None = None) -> None:
        """The next frame, uint8 (H, W, 3), shown at `time` seconds (which a constant rate overrides)."""
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame.time_base = self._time_base
        # Containers want each frame later than the one before.
        frame.pts = self._count if self._constant else max(round(time / self._time_base), self._shown + 1)
        self._shown = frame.pts
        if duration is not None:
            frame.duration = max(1, round(duration / self._time_base))
        self._count += 1
        try:
            self._container.mux(self._video.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise self._unwritten(error) from None

    def sound(self, start: int, duration: int, data: bytes) -> None:
        """The next Opus packet; times in samples at 48 kHz after the first frame."""
        assert self._audio is not None
        packet = av.Packet(data)
        packet.stream = self._audio
        packet.time_base = Fraction(1, AUDIO_RATE)
        packet.pts = packet.dts = start
        packet.duration = duration
        try:
            self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise self._unwritten(error) from None

    def _unwritten(self, error: Exception) -> InputError:
        return InputError(f"{self._path}: cannot be written ({getattr(error, 'strerror', None) or error})")

    def _opus_stream(self, channels: int) -> AudioStream:
        # Opened as an encoder only for the codec's header (RFC 7845, section 5.1); packets come ready-made.
        stream = self._container.add_stream("libopus", rate=AUDIO_RATE)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "mono" if channels == 1 else "stereo"
        stream.codec_context.time_base = Fraction(1, AUDIO_RATE)
        return stream
