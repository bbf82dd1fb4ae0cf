"""From received frames to a sink: the newest picture, all of the sound, on a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.media.container import fitted, rgb_picture
from server.media.stream_clock import StreamClock
from server.viewer.sink import Sink

MAX_SOUND = 100
"""Frames of sound that may wait; the oldest go."""


class Delivery:
    """All methods belong to one event loop. `over` is done when nobody takes what is written."""

    def __init__(self, sink: Sink, size: tuple[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = sink
        self._size = size
        self._clock = clock
        self._began: float | None = None  # time 0, with the first picture
        self._newest: tuple[VideoFrame, float] | None = None
        self._shown: NDArray[np.uint8] | None = None
        self._sound: deque[tuple[AudioFrame, float]] = deque(maxlen=MAX_SOUND)
        self._video_clock, self._audio_clock = StreamClock(90_000), StreamClock(48_000)
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="view-sink")
        self._task: asyncio.Task[None] | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the first picture."""
        self.pictures = 0

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="view delivery")

    def picture(self, frame: VideoFrame) -> None:
        """A picture came; one that was not taken yet gives way."""
        now = self._clock()
        if self._began is None:
            self._began = now
            self.first.set_result(None)
        self._newest = (frame, self._video_clock.at((frame.pts or 0) % (1 << 32), now - self._began) / 90_000)
        self._wake.set()

    def sound(self, frame: AudioFrame) -> None:
        """Sound came; what comes before the first picture is left out."""
        if self._sink.hears and self._began is not None:
            at = self._audio_clock.at((frame.pts or 0) % (1 << 32), self._clock() - self._began) / 48_000
            self._sound.append((frame, max(0.0, at)))
            self._wake.set()

    def restart(self) -> None:
        """What comes next belongs to other streams."""
        self._video_clock, self._audio_clock = StreamClock(90_000), StreamClock(48_000)

    async def close(self) -> None:
        """End the sink in an orderly way; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(BrokenPipeError):
                await asyncio.get_running_loop().run_in_executor(self._executor, self._sink.close)
            self._executor.shutdown(wait=False)

    async def _run(self) -> None:
        try:
            if self._sink.fps is None:
                await self._each_once()
            else:
                await self._at_rate(1 / self._sink.fps)
        except BrokenPipeError:
            self._end(None)
        except Exception as error:  # told to whoever waits
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if not self.over.done():
            if error is None:
                self.over.set_result(None)
            else:
                self.over.set_exception(error)

    async def _each_once(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            newest, self._newest = self._newest, None
            await self._write(newest, self._taken())

    async def _at_rate(self, interval: float) -> None:
        """A picture each interval; where writing takes longer, intervals are left out."""
        while self._newest is None:
            await self._wake.wait()
            self._wake.clear()
        due = self._clock()
        while True:
            newest, self._newest = self._newest, None
            at = self._clock() - (self._began or 0.0)
            await self._write(newest, self._taken(), again_at=at)
            now = self._clock()
            due = max(due + interval, now)
            await asyncio.sleep(due - now)

    def _taken(self) -> list[tuple[AudioFrame, float]]:
        sound = list(self._sound)
        self._sound.clear()
        return sound

    async def _write(
        self,
        newest: tuple[VideoFrame, float] | None,
        sound: list[tuple[AudioFrame, float]],
        again_at: float | None = None,
    ) -> None:
        def write() -> None:
            if newest is not None:
                frame, at = newest
                self._shown = fitted(rgb_picture(frame, (frame.width, frame.height)), self._size)
                self._sink.picture(self._shown, at if again_at is None else again_at)
                self.pictures += 1
            elif again_at is not None and self._shown is not None:
                self._sink.picture(self._shown, again_at)
            for heard, at in sound:
                self._sink.sound(heard, at)

        await asyncio.get_running_loop().run_in_executor(self._executor, write)
