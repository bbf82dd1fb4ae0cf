"""Reading one stream of a container on a thread of its own: as it comes, or in real time along a timeline."""

from __future__ import annotations

import threading
from collections.abc import Callable

import av
from av.container import InputContainer

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""

Wait = Callable[[float], bool]
"""Waits that many seconds, or less when asked to stop; returns whether it was asked to."""


class Timeline:
    """When the media times of a file are due, shared by its picture and its sound so that they stay together.

    Loops repeat the file after `duration` seconds, the length of its longer stream.
    """

    def __init__(self, start: float, duration: float) -> None:
        self.start = start
        self.duration = duration

    def due(self, lap: int, media_time: float) -> float:
        """Clock time of a media time, both in seconds, in repetition `lap` (from 0)."""
        return self.start + lap * self.duration + media_time


class ContainerReader(threading.Thread):
    """What capture of pictures and of sound have in common.

    `open_container` is called once per lap; with a `timeline` what is read waits until it is due, and `loop` starts
    over at the end.
    """

    def __init__(
        self,
        name: str,
        open_container: Callable[[], InputContainer],
        *,
        clock: Clock,
        timeline: Timeline | None,
        loop: bool,
        wait: Wait | None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.clock = clock
        self.timeline = timeline
        self._open = open_container
        self._loop = loop
        self._stop_event = threading.Event()
        self._wait = wait or self._stop_event.wait

    @property
    def stopping(self) -> bool:
        """Whether the reader was asked to stop."""
        return self._stop_event.is_set()

    def close(self) -> None:
        """Stop and join the thread; may be called twice. A device's pending read ends with what it gives next."""
        self._stop_event.set()
        if self.ident is not None and self is not threading.current_thread():
            self.join()

    def play(self) -> None:
        """Lap after lap; raises what opening, reading and `play_lap` raise."""
        lap = 0
        while True:
            with self._open() as container:
                ended = self.play_lap(container, lap)
            if not (ended and self._loop):
                return
            lap += 1

    def play_lap(self, container: InputContainer, lap: int) -> bool:
        """Play the stream once; False when there is nothing more to play: asked to stop, or no such stream."""
        raise NotImplementedError

    def due(self, lap: int, media_time: float) -> float | None:
        """When a media time is due by the clock; None for what is taken as it comes."""
        return None if self.timeline is None else self.timeline.due(lap, media_time)

    def wait(self, due: float | None) -> bool:
        """Wait until then; True when asked to stop meanwhile."""
        return due is not None and self._wait(max(0.0, due - self.clock()))


def media_time(container: InputContainer, frame: av.VideoFrame | av.AudioFrame) -> float | None:
    """Media time of a frame in seconds since the start of the container, the origin that picture and sound share."""
    if frame.time is None:
        return None
    return frame.time - (container.start_time or 0) / 1e6  # container times are microseconds
