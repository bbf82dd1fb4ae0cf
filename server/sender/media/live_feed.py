"""The feed of a camera or a video file: its threads capture, extract and encode, its listener is on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from model.errors import VisavisError
from server.sender.media.capture import FrameMailbox, VideoCapture, file_duration
from server.sender.media.extraction import Extraction, Tracker
from server.sender.media.extractor import Avatar, Extractor
from server.sender.media.feed import FeedListener
from server.sender.media.inputs import MediaInput, open_camera, open_file, open_microphone
from server.sender.media.reader import Clock, Timeline
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import SoundCapture, SoundQueue

FILE_START = 0.3
"""Seconds after the start at which a file's first frame is due: both of its threads have opened it by then."""


class LoopListener:
    """Brings a worker thread's findings onto the event loop. Of motion only the newest waits: it may be replaced."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: FeedListener) -> None:
        self._loop = loop
        self._listener = listener
        self._lock = threading.Lock()
        self._motion: tuple[MotionSample, StageTimes] | None = None
        self.dropped = 0

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        with self._lock:
            waiting, self._motion = self._motion is not None, (sample, stages)
            self.dropped += waiting
        if not waiting:
            self._call(self._deliver)

    def on_source(self, source: SourceImage) -> None:
        self._call(self._listener.on_source, source)

    def on_window(self, window: WindowUpload) -> None:
        self._call(self._listener.on_window, window)

    def on_presence(self, problem: str | None) -> None:
        self._call(self._listener.on_presence, problem)

    def on_failure(self, error: BaseException) -> None:
        self._call(self._listener.on_end, error)

    def on_end(self, error: VisavisError | None) -> None:
        self._call(self._listener.on_end, error)

    def on_notice(self, text: str) -> None:
        self._call(self._listener.on_notice, text)

    def _deliver(self) -> None:
        with self._lock:
            motion, self._motion = self._motion, None
        if motion is not None:
            self._listener.on_motion(*motion)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class LiveFeed:
    """A camera with the microphone, or a video file in real time with its own sound."""

    def __init__(
        self,
        source: MediaInput,
        listener: FeedListener,
        *,
        extractor: Extractor,
        tracker: Tracker,
        fps: float,
        clock: Clock,
        sound: bool,
        loop: bool = False,
        avatar: Avatar | None = None,
    ) -> None:
        event_loop = asyncio.get_running_loop()
        self._listener = LoopListener(event_loop, listener)
        self._mailbox = FrameMailbox()
        self.sound = SoundQueue(event_loop) if sound else None
        self._extraction = Extraction(self._mailbox, tracker, extractor, self._listener, clock=clock, avatar=avatar)
        timeline: Timeline | None = None
        place = source.place
        if source.kind == "file":
            timeline = Timeline(clock() + FILE_START, file_duration(place, open_file))
        self._video = VideoCapture(
            (lambda: open_file(place)) if timeline else (lambda: open_camera(place)),
            self._mailbox,
            fps=fps,
            clock=clock,
            timeline=timeline,
            loop=loop,
            on_end=self._listener.on_end,
        )
        self._sound_capture: SoundCapture | None = None
        if self.sound is not None:
            self._sound_capture = SoundCapture(
                (lambda: open_file(place)) if timeline else open_microphone,
                self.sound,
                clock=clock,
                timeline=timeline,
                loop=loop,
                on_problem=lambda text: self._listener.on_notice(f"{text}; going on without sound"),
            )

    @property
    def dropped(self) -> int:
        return self._mailbox.dropped + self._listener.dropped

    def start(self) -> None:
        """Start the threads."""
        self._extraction.start()
        self._video.start()
        if self._sound_capture is not None:
            self._sound_capture.start()

    def source_taken(self, index: int) -> None:
        """The receiver has that source."""
        self._extraction.source_taken(index)

    def source_refused(self, index: int, error: VisavisError) -> None:
        """The receiver cannot use that source; another frame is tried."""
        self._extraction.source_refused(index, error)

    async def close(self) -> None:
        """End the threads; off the loop, because a camera may take a moment to let go."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._video.close()
        if self._sound_capture is not None:
            self._sound_capture.close()
        self._extraction.close()
