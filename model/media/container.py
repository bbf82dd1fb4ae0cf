"""Reading containers as they come from the world: streams chosen, damage skipped, times mended, pictures made square.

What file tool and sender share; `video.py` reads whole files with it, `server/sender/media/` devices and files in real
time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from model.errors import InputError

logger = logging.getLogger(__name__)

_DAMAGE = (av.error.InvalidDataError, av.error.UnknownError, av.error.ArgumentError)

MOST_DAMAGE = 1000
"""Damaged packets in a row after which a file counts as ended."""

LONGEST_GAP = Fraction(10)
"""Seconds between neighbouring timestamps; more is a jump of the clock, as after editing, and not a pause."""

LONGEST_RETURN = Fraction(1, 2)
"""Seconds by which a timestamp may lie before its neighbour; more is a clock that started anew."""

_LEAST_STEP = Fraction(1, 1000)
_REPEATS = 2

_WIDEST_ASPECT = 8
"""Sample aspect ratios beyond are damage and not meant."""

MAX_SIDE = 16384
"""Pixels. Larger pictures are refused before they are converted."""


def file_address(path: Path | str) -> str:
    """What FFmpeg opens: it takes the part of a plain name before a colon for a protocol."""
    return f"file:{path}"


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The video that plays: by default first; None when there is none but pictures of covers."""
    shown = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return next((s for s in shown if s.disposition & Disposition.default), next(iter(shown), None))


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The sound that plays: the default track, else the first."""
    tracks = container.streams.audio
    return next((s for s in tracks if s.disposition & Disposition.default), next(iter(tracks), None))


def decoded_pictures(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in the order of display; damaged ones are left out with one warning. Raises FFmpegError of devices."""
    return (frame for frame in _decoded(container, stream) if isinstance(frame, VideoFrame))


def decoded_sound(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Frames of sound, as `decoded_pictures`."""
    return (frame for frame in _decoded(container, stream) if isinstance(frame, AudioFrame))


def packets_of(container: InputContainer, stream: VideoStream | AudioStream) -> Iterator[Packet[Any]]:
    """Packets of one stream, the empty last one included, at which a decoder gives out what it holds back.

    Where the container is damaged, what follows is read; after `MOST_DAMAGE` errors in a row it counts as ended.
    """
    in_a_row = 0
    packets = container.demux(stream)
    while in_a_row < MOST_DAMAGE:
        try:
            packet = next(packets, None)
        except _DAMAGE:
            in_a_row += 1
            packets = container.demux(stream)  # one that raised is over; the container goes on behind the damage
            continue
        if packet is None:
            return
        in_a_row = 0
        yield packet


def _decoded(container: InputContainer, stream: VideoStream | AudioStream) -> Iterator[VideoFrame | AudioFrame]:
    warned = False

    def warn() -> None:
        nonlocal warned
        if not warned:
            logger.warning("%s: damaged %s is skipped", container.name.removeprefix("file:"), stream.type)
        warned = True

    for packet in packets_of(container, stream):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except _DAMAGE:
            warn()
            continue
        for frame in frames:
            if frame.is_corrupt:
                warn()
            else:
                yield frame


class SteadyTime:
    """Timestamps to times that only grow: a pure state machine.

    A clock that jumps or starts anew goes on where it was. Picture and sound are mended each for itself, and agree
    because both jump by the same amount.
    """

    def __init__(self, step: Fraction, longest_gap: Fraction = LONGEST_GAP) -> None:
        """`step`: seconds from a frame to the next where timestamps do not tell."""
        self._step = step
        self._longest_gap = longest_gap
        self._offset = Fraction(0)
        self._last: Fraction | None = None
        self._stamp = Fraction(0)
        self._repeats = 0

    def at(self, stamp: Fraction | None) -> Fraction:
        """Time in seconds of a frame with that timestamp in seconds, None where it has none; later than any before."""
        if self._last is None:
            self._stamp = self._last = Fraction(0) if stamp is None else stamp
            return self._last
        if stamp is None:
            stamp = self._stamp + self._step
        if not -LONGEST_RETURN <= stamp - self._stamp <= self._longest_gap:
            self._offset = self._last + self._step - stamp
            self._repeats = 0
        self._stamp = stamp
        time = stamp + self._offset
        if time > self._last:
            self._repeats = 0
        else:
            # One repeated stamp is followed by a true one; stamps that stand still say nothing at all.
            self._repeats += 1
            time = self._last + (_LEAST_STEP if self._repeats <= _REPEATS else self._step)
        self._last = time
        return time


def display_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels of a picture whose samples have that aspect ratio, width to height."""
    if aspect is None or not Fraction(1, _WIDEST_ASPECT) <= aspect <= _WIDEST_ASPECT:
        return width, height
    # The longer samples are stretched: nothing that was filmed gets lost.
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def rgb_picture(frame: VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture, uint8 (H, W, 3) RGB, scaled to `size` (width, height); transparency lies over white.

    Raises InputError when it has more than `MAX_SIDE` pixels on a side.
    """
    if max(frame.width, frame.height, *size) > MAX_SIDE:
        raise InputError(f"a picture of {frame.width}x{frame.height}; at most {MAX_SIDE} pixels a side are read")
    width, height = size
    if not any(component.is_alpha for component in frame.format.components):
        return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
    rgba = np.asarray(frame.to_ndarray(format="rgba", width=width, height=height), np.uint16)
    opaque = rgba[..., 3:]
    return ((rgba[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


def fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) at another `size` (width, height), whole and undistorted, with black beside it."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    ratio = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    scaled = Image.fromarray(picture).resize(inner, Image.Resampling.BICUBIC)
    out[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled, np.uint8)
    return out
