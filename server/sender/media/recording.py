"""A recorded motion stream played in real time, over and over: the built-in talker, and load tests without a camera.

A recording carries its own source image and sound, so playing it needs neither a network nor a face finder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.codec.decoder import MotionDecoder
from model.codec.statistics import MotionStatistics
from model.codec.vav import AUDIO_RATE, read_vav
from model.errors import InputError, VisavisError, WeightsError
from server.sender.media.capture import FramePacer
from server.sender.media.feed import FeedListener
from server.sender.media.reader import Clock, Timeline
from server.sender.media.samples import MotionSample, MouthUpload, SourceImage, StageTimes
from server.sender.media.sound import PACKET_SAMPLES, PACKET_SECONDS, SoundQueue

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
"""Seconds."""

LATEST_FRAME = 0.1
"""Seconds after which a frame that was due is left out."""


@dataclass(frozen=True)
class Recording:
    """What a `.vav` file holds, ready to be played."""

    vectors: NDArray[np.float32]  # (T, 139 + 3K)
    times: NDArray[np.float64]  # (T,) seconds from 0, ascending
    source: SourceImage
    windows: tuple[bytes, ...]  # mouth windows beside it
    sound: tuple[bytes, ...]  # Opus packets of 20 ms, without gaps; empty without sound
    sound_start: float  # seconds: when the first packet's sound begins
    duration: float  # seconds


def read_recording(path: Path, statistics: MotionStatistics, weights_hash: str) -> Recording:
    """Read a `.vav` file made with the weights in use.

    Raises InputError and BitstreamError for a file that cannot be played, WeightsError for one of other weights.
    """
    vav = read_vav(path)
    if vav.header.weights.hex() != weights_hash:
        raise WeightsError(
            f"{path.name} was recorded with other weights ({vav.header.weights.hex()[:12]}) than those in use "
            f"({weights_hash[:12]}): record it again (make portrait, or python -m model encode)"
        )
    decoder = MotionDecoder(statistics)
    frames = [frame for message in vav.messages for frame in decoder.decode(message)]
    if len(frames) < 2 or len(vav.sources) != 1:
        raise InputError(f"{path.name} holds {len(frames)} frames and {len(vav.sources)} sources: nothing to play")
    index, data = next(iter(vav.sources.items()))
    rate = vav.header.rate
    numbers = range(len(frames))
    times = [i / rate for i in numbers] if rate else [(f.capture_ms - frames[0].capture_ms) / 1000 for f in frames]
    sound = vav.audio
    if any(packet.duration != PACKET_SAMPLES for packet in sound):
        logger.warning("%s has sound in packets other than 20 ms; going on without sound", path.name)
        sound = []
    return Recording(
        vectors=np.stack([frame.vector for frame in frames]),
        times=np.array([float(time) for time in times]),
        source=SourceImage(index, data),
        windows=tuple(vav.windows.get(index, ())),
        sound=tuple(packet.data for packet in sound),
        sound_start=sound[0].start / AUDIO_RATE if sound else 0.0,
        duration=vav.seconds,
    )


class RecordingFeed:
    """Plays a recording in a loop from the moment the receiver has its source. See `server.sender.media.feed.Feed`."""

    def __init__(
        self,
        recording: Recording,
        listener: FeedListener,
        *,
        fps: float,
        clock: Clock,
        sound: bool,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._recording = recording
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._pacer = FramePacer(fps)
        self._tasks: list[asyncio.Task[None]] = []
        self.sound = SoundQueue(asyncio.get_running_loop()) if sound and recording.sound else None
        self.dropped = 0

    def start(self) -> None:
        """Offer the source."""
        self._listener.on_source(self._recording.source)

    def source_taken(self, index: int) -> None:
        """Begin; later connections find the recording wherever it is by then."""
        if self._tasks:
            return
        for slot, data in enumerate(self._recording.windows):
            self._listener.on_window(MouthUpload(slot, data))
        timeline = Timeline(self._clock(), self._recording.duration)
        self._tasks.append(asyncio.create_task(self._play_motion(timeline), name="visavis-recording"))
        if self.sound is not None:
            self._tasks.append(asyncio.create_task(self._play_sound(timeline, self.sound), name="visavis-voice"))

    def source_refused(self, index: int, error: VisavisError) -> None:
        """A recording has no other picture: it ends."""
        self._listener.on_end(error)

    async def close(self) -> None:
        """Stop playing; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _play_motion(self, timeline: Timeline) -> None:
        lap = 0
        while True:
            for vector, time in zip(self._recording.vectors, self._recording.times, strict=True):
                due = timeline.due(lap, float(time))
                if not self._pacer.accept(due):
                    continue
                await self._until(due)
                late = self._clock() - due
                if late > LATEST_FRAME:  # the machine was held up, or asleep: the frames of that time are history
                    self.dropped += 1
                    continue
                sample = MotionSample(vector, due, self._recording.source.index)
                self._listener.on_motion(sample, StageTimes(capture=0.0, extract=0.0))
            lap += 1

    async def _play_sound(self, timeline: Timeline, queue: SoundQueue) -> None:
        lap = 0
        while True:
            for number, packet in enumerate(self._recording.sound):
                begin = self._recording.sound_start + number * PACKET_SECONDS
                if begin >= self._recording.duration:
                    break  # sound that is longer than the picture gives way to the next round
                await self._until(timeline.due(lap, begin + PACKET_SECONDS))  # a packet is whole at its end
                queue.put(packet)
            lap += 1

    async def _until(self, due: float) -> None:
        # Also yields when the time has passed already, so that a late player does not hold up the event loop.
        await self._sleep(max(0.0, due - self._clock()))
