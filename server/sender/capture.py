"""Frames from a camera or, in real time, from a video file: one thread, at most one frame waiting, the newest wins."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from model.errors import InputError, VisavisError

logger = logging.getLogger(__name__)

LONGEST_SIDE = 1280
"""Pixels; larger frames are scaled down while they are converted, so that a 4K camera costs no more than a 720p one."""

Clock = Callable[[], float]
"""Milliseconds of a monotonic clock."""

Wait = Callable[[float], bool]
"""Waits that many seconds, or less when asked to stop; returns whether it was asked to."""


@dataclass(frozen=True)
class CapturedFrame:
    """One frame as the camera saw it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    capture_ms: float
    """Sender's monotonic clock."""
    convert_ms: float = 0.0
    """Time from capture to this RGB picture."""


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
    """Thins a camera's frame rate down to the one that is sent, without drifting: told the time of each frame."""

    TOLERANCE = 0.25
    """Of a frame interval: a camera's jitter must not make a frame miss its slot."""

    def __init__(self, fps: float) -> None:
        if fps <= 0:
            raise ValueError("fps must be positive")
        self._interval = 1000.0 / fps
        self._next: float | None = None

    def accept(self, capture_ms: float) -> bool:
        """Whether the frame captured then is one to send."""
        if self._next is None or capture_ms - self._next > 4 * self._interval:
            self._next = capture_ms
        if capture_ms < self._next - self.TOLERANCE * self._interval:
            return False
        self._next += self._interval
        return True


class Timeline:
    """When the media times of a file are due, shared by its picture and its sound so that they stay together.

    Loops repeat the file after `duration_ms`, the length of its longer stream.
    """

    def __init__(self, start_ms: float, duration_ms: float) -> None:
        self.start_ms = start_ms
        self.duration_ms = duration_ms

    def due(self, lap: int, media_ms: float) -> float:
        """Clock time in ms of media time `media_ms` in repetition `lap` (from 0)."""
        return self.start_ms + lap * self.duration_ms + media_ms


class VideoCapture(threading.Thread):
    """Reads one video stream and puts RGB frames into the mailbox until closed or at the end.

    `open_container` is called once per lap; with a `timeline` frames wait until they are due and `loop` starts over.
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
        super().__init__(name="visavis-capture", daemon=True)
        self._open = open_container
        self._mailbox = mailbox
        self._pacer = FramePacer(fps)
        self._clock = clock
        self._timeline = timeline
        self._loop = loop
        self._on_end = on_end
        self._stop_event = threading.Event()
        self._wait = wait or self._stop_event.wait

    def close(self) -> None:
        """Stop and join the thread; may be called twice. A camera's pending read ends with its next frame."""
        self._stop_event.set()
        if self.ident is not None and self is not threading.current_thread():
            self.join()
        self._mailbox.close()

    def run(self) -> None:
        error: VisavisError | None = None
        try:
            lap = 0
            while self._read(lap) and self._loop:
                lap += 1
        except VisavisError as reason:
            error = reason
        except (av.FFmpegError, OSError) as reason:
            error = InputError(f"the source stopped: {reason.strerror or reason}")
        self._mailbox.close()
        if not self._stop_event.is_set():
            self._on_end(error)

    def _read(self, lap: int) -> bool:
        """Play the stream once; False when asked to stop."""
        with self._open() as container:
            if not container.streams.video:
                raise InputError("the source has no picture")
            container.streams.video[0].thread_type = "AUTO" if self._timeline else "SLICE"
            shown = 0
            for frame, media_ms in _frames(container):
                if self._stop_event.is_set():
                    return False
                captured = self._clock()
                if self._timeline is not None:
                    captured = self._timeline.due(lap, media_ms)
                if not self._pacer.accept(captured):
                    continue
                if self._timeline is not None and self._wait(max(0.0, captured - self._clock()) / 1000.0):
                    return False
                image = _rgb(frame)
                self._mailbox.put(CapturedFrame(image, captured, self._clock() - captured))
                shown += 1
            if not shown:
                raise InputError("the source has no frames")
        return True


def media_time_ms(container: InputContainer, frame: av.VideoFrame | av.AudioFrame) -> float | None:
    """Media time of a frame in ms since the start of the container, the origin that picture and sound share."""
    if frame.time is None:
        return None
    return frame.time * 1000.0 - (container.start_time or 0) / 1000.0  # container times are microseconds


def _frames(container: InputContainer) -> Iterator[tuple[av.VideoFrame, float]]:
    """Frames with their media time in ms; a file without times runs at its nominal rate."""
    stream = container.streams.video[0]
    nominal = 1000.0 / float(stream.average_rate or 25)
    for index, frame in enumerate(container.decode(stream)):
        media_ms = media_time_ms(container, frame)
        yield frame, index * nominal if media_ms is None else media_ms


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    ratio = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * ratio)), max(2, round(frame.height * ratio))
    return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)


def file_duration_ms(path: str, open_container: Callable[[str], InputContainer]) -> float:
    """Length of a file in ms. Raises InputError when it has neither a length nor a picture."""
    with open_container(path) as container:
        if not container.streams.video:
            raise InputError(f"{path} has no picture")
        if container.duration:
            return container.duration / 1000.0  # libav's time base is a microsecond
        last = 0.0
        for _, media_ms in _frames(container):
            last = media_ms
        return last + 40.0
