"""Frames from a camera or, in real time, from a video file: one thread, at most one frame waiting, the newest wins."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model.errors import InputError, VisavisError
from model.media.container import SteadyTime, decoded_pictures, display_size, picture_stream, rgb_picture
from model.media.video import upright
from server.sender.media.reader import Clock, ContainerReader, Timeline, Wait, media_time

logger = logging.getLogger(__name__)

LONGEST_SIDE = 1280
"""Pixels; larger frames are scaled down while they are converted, so that a 4K camera costs no more than a 720p one."""


@dataclass(frozen=True)
class CapturedFrame:
    """One frame as the camera saw it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB, upright
    captured: float
    """Seconds of the sender's monotonic clock."""
    conversion: float = 0.0
    """Seconds from capture to this RGB picture."""


class FrameMailbox:
    """Hands frames from one thread to another and holds at most one: a newer frame replaces what waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._frame: CapturedFrame | None = None
        self._closed = False
        self.dropped = 0
        """Frames replaced before anybody took them."""

    def put(self, frame: CapturedFrame) -> None:
        with self._condition:
            if self._frame is not None:
                self.dropped += 1
            self._frame = frame
            self._condition.notify()

    def take(self) -> CapturedFrame | None:
        """Wait for a frame; None when the mailbox is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._frame is not None or self._closed)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class FramePacer:
    """Thins a camera's frame rate down to the one that is sent, without drifting. Pure: takes each frame's time."""

    TOLERANCE = 0.25
    """Of a frame interval: a camera's jitter must not make a frame miss its slot."""

    def __init__(self, fps: float) -> None:
        if fps <= 0:
            raise ValueError("fps must be positive")
        self._interval = 1.0 / fps
        self._next: float | None = None

    def accept(self, captured: float) -> bool:
        """Whether the frame captured then is one to send."""
        if self._next is None or captured - self._next > 4 * self._interval:
            self._next = captured
        if captured < self._next - self.TOLERANCE * self._interval:
            return False
        self._next += self._interval
        return True


class VideoCapture(ContainerReader):
    """Reads one video stream and puts RGB frames into the mailbox until closed or at the end.

    `on_end` is called once from this thread: with None at the end of a file, with the error otherwise.
    """

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        mailbox: FrameMailbox,
        *,
        fps: float,
        clock: Clock,
        timeline: Timeline | None = None,
        loop: bool = False,
        on_end: Callable[[VisavisError | None], None],
        wait: Wait | None = None,
    ) -> None:
        super().__init__("visavis-capture", open_container, clock=clock, timeline=timeline, loop=loop, wait=wait)
        self._mailbox = mailbox
        self._pacer = FramePacer(fps)
        self._on_end = on_end

    def close(self) -> None:
        """As of every reader; whoever takes from the mailbox is let go as well."""
        super().close()
        self._mailbox.close()

    def run(self) -> None:
        error: VisavisError | None = None
        try:
            self.play()
        except VisavisError as reason:
            error = reason
        except (av.FFmpegError, OSError) as reason:
            error = InputError(f"the source stopped: {reason.strerror or reason}")
        self._mailbox.close()
        if not self.stopping:
            self._on_end(error)

    def play_lap(self, container: InputContainer, lap: int) -> bool:
        """Every frame that the pacer wants, into the mailbox. Raises InputError without a picture."""
        stream = picture_stream(container)
        if stream is None:
            raise InputError("the source has no picture")
        stream.thread_type = "AUTO" if self.timeline else "SLICE"
        shown = 0
        for frame, shown_at in _frames(container, stream):
            if self.stopping:
                return False
            due = self.due(lap, shown_at)
            captured = self.clock() if due is None else due
            if not self._pacer.accept(captured):
                continue
            if self.wait(due):
                return False
            image = _rgb(frame, stream.sample_aspect_ratio)
            self._mailbox.put(CapturedFrame(image, captured, self.clock() - captured))
            shown += 1
        if not shown:
            raise InputError("the source has no frames")
        return True


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, float]]:
    """Frames with their media time in seconds, which only grows; a file without times runs at its nominal rate."""
    steady = SteadyTime(1 / Fraction(stream.average_rate or 25))
    for frame in decoded_pictures(container, stream):
        shown_at = media_time(container, frame)
        yield frame, float(steady.at(None if shown_at is None else Fraction(shown_at)))


def _rgb(frame: av.VideoFrame, aspect: Fraction | None) -> NDArray[np.uint8]:
    width, height = display_size(frame.width, frame.height, aspect)
    ratio = min(1.0, LONGEST_SIDE / max(width, height))
    return upright(rgb_picture(frame, (max(2, round(width * ratio)), max(2, round(height * ratio)))), frame.rotation)


def file_duration(path: str, open_container: Callable[[str], InputContainer]) -> float:
    """Length of a file in seconds. Raises InputError when it has neither a length nor a picture."""
    with open_container(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise InputError(f"{path} has no picture")
        if container.duration:
            return container.duration / 1e6  # libav's time base is a microsecond
        last = 0.0
        for _, shown_at in _frames(container, stream):
            last = shown_at
        return last + 0.04
