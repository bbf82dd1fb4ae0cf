"""A short clip of a face, made from the public-domain portrait that scikit-image carries, with sound."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

SIZE = 320
AUDIO_RATE = 44_100


@cache
def portrait() -> NDArray[np.uint8]:
    """Upper part of the portrait, uint8 (320, 320, 3): one face of about 140 pixels."""
    return np.ascontiguousarray(data.astronaut()[0:SIZE, 64 : 64 + SIZE])


def write_clip(
    path: Path, times_ms: Sequence[int], *, beep_at: float | None = None, audio_offset: float = 0.0, faces: int = 1
) -> None:
    """The portrait, drifting, shown at times_ms; a beep `beep_at` seconds after the first frame when given.

    `audio_offset` seconds after the first frame the sound begins. With `faces` 0 there is noise instead, with 2 the
    portrait stands beside itself.
    """
    picture = portrait()
    if faces == 0:
        picture = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)
    if faces == 2:
        picture = np.concatenate([picture, picture], 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        video.codec_context.thread_count = 1
        video.options = {"preset": "ultrafast"}
        audio = None
        if beep_at is not None:
            audio = container.add_stream("aac", rate=AUDIO_RATE)
            audio.codec_context.layout = "mono"
        for index, ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, index % 8, axis=1), "rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), ms
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and beep_at is not None:
            count = round((times_ms[-1] / 1000 + 0.2 - audio_offset) * AUDIO_RATE)
            t = np.arange(count) / AUDIO_RATE + audio_offset
            tone = np.where((t >= beep_at) & (t < beep_at + 0.1), 0.5 * np.sin(2 * np.pi * 1000 * t), 0)
            for start in range(0, count, 1024):
                sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1024].astype(np.float32), "fltp", "mono")
                sound.sample_rate, sound.time_base = AUDIO_RATE, Fraction(1, AUDIO_RATE)
                sound.pts = start + round(audio_offset * AUDIO_RATE)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def write_turned(path: Path, turns: int, size: tuple[int, int] = (64, 48), frames: int = 5) -> NDArray[np.uint8]:
    """A film (MP4) by a phone that was held sideways; returns the upright picture that every frame shows.

    The file's pictures have `size` (width, height), its track header asks for `turns` quarter turns clockwise.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = 230, 150
    picture[height // 2 :, : width // 2] = 80
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {"preset": "ultrafast", "crf": "4"}
        for _ in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    data = bytearray(path.read_bytes())
    # PyAV writes no display matrix, so it is put into the track header (ISO/IEC 14496-12, section 8.3.2): abu cdv xyw.
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    fixed = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", *fixed)
    path.write_bytes(data)
    return np.ascontiguousarray(np.rot90(picture, -turns))


def beep_start(path: Path) -> float:
    """Seconds from the first video frame of a file to the beep in its sound, by its timestamps."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
    assert first.time is not None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            over = np.flatnonzero(loud > 0.1)
            if over.size:
                assert frame.time is not None
                return frame.time + int(over[0]) / frame.sample_rate - first.time
    raise AssertionError("no beep")


def write_image(path: Path, picture: NDArray[np.uint8]) -> None:
    """An image file."""
    Image.fromarray(picture).save(path)


def write_film(
    path: Path,
    times_ms: Sequence[int],
    *,
    tone: bool = False,
    aspect: Fraction | None = None,
    size: tuple[int, int] = (64, 48),
) -> None:
    """A film of MPEG-4 part 2, each frame a key frame and a little lighter, with a 440 Hz tone when asked.

    aspect: of its samples, width to height; size: width and height.
    """
    with av.open(f"file:{path}", "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        video.codec_context.gop_size = 1
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream("pcm_s16le", rate=48_000, layout="mono") if tone else None
        for index, ms in enumerate(times_ms):
            picture = np.full((size[1], size[0], 3), min(255, 40 + 4 * index), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), ms
            container.mux(video.encode(frame))
            if sound is not None:
                t = np.arange(1920) / 48_000
                piece = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
                heard = av.AudioFrame.from_ndarray(piece, "s16", "mono")
                heard.sample_rate, heard.time_base, heard.pts = 48_000, Fraction(1, 48_000), ms * 48
                container.mux(sound.encode(heard))
        container.mux(video.encode(None))


def payloads(path: Path) -> list[tuple[int, int]]:
    """Place and length in bytes of each packet of the picture in a file."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        return [(p.pos, p.size) for p in container.demux(stream) if p.size and p.pos is not None]
