"""A recorded motion stream played in real time, over and over: the built-in talker, and load tests without a camera.

A recording carries its own source images and sound, so playing it needs neither a network nor a face finder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.codec.decoder import MotionDecoder
from model.codec.opus_packet import SILENCE, SILENCE_SAMPLES, join_packets, joinable
from model.codec.statistics import MotionStatistics
from model.codec.vav import AUDIO_RATE, AudioPacket, read_vav
from model.codec.window import SLOTS_OF_KIND
from model.errors import InputError, VisavisError, WeightsError
from server.sender.media.capture import FramePacer
from server.sender.media.feed import FeedListener
from server.sender.media.reader import Clock, Timeline
from server.sender.media.recorded_sources import Placed, RecordedSources
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import PACKET_SAMPLES, SoundPacket, SoundQueue

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
    sources: tuple[bytes, ...]  # images
    windows: tuple[tuple[bytes, ...], ...]  # windows beside each of them
    driven: tuple[int, ...]  # (T,) which of them each frame drives
    sound: tuple[SoundPacket, ...]  # by time, places counted from the first frame; gaps are silence; may be empty
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
    if vav.header.live:
        raise InputError(f"{path.name} is a recorded call: decode it, and encode the film")
    decoder = MotionDecoder(statistics)
    frames = [frame for message in vav.messages for frame in decoder.decode(message.data)]
    if len(frames) < 2:
        raise InputError(f"{path.name} holds {len(frames)} frames: nothing to play")
    rate = vav.header.rate
    numbers = range(len(frames))
    times = [i / rate for i in numbers] if rate else [(f.capture_ms - frames[0].capture_ms) / 1000 for f in frames]
    images, windows = vav.messages[-1].images, vav.film_windows
    return Recording(
        vectors=np.stack([frame.vector for frame in frames]),
        times=np.array([float(time) for time in times]),
        sources=tuple(vav.images),
        windows=tuple(windows.get(number, ()) for number in range(len(vav.images))),
        driven=tuple(images[frame.source] for frame in frames),
        sound=tuple(repacked(vav.audio)),
        duration=vav.seconds,
    )


def repacked(sound: Sequence[AudioPacket]) -> Iterator[SoundPacket]:
    """Packets that follow on each other joined to up to 60 ms, without encoding anew; others as they are."""
    waiting: list[AudioPacket] = []
    for packet in sound:
        if waiting and not _joins(waiting, packet):
            yield _joined(waiting)
            waiting = []
        waiting.append(packet)
    if waiting:
        yield _joined(waiting)


def _joins(waiting: list[AudioPacket], packet: AudioPacket) -> bool:
    length = sum(one.duration for one in waiting)
    return (
        length + packet.duration <= PACKET_SAMPLES
        and packet.start == waiting[0].start + length
        and joinable([*(one.data for one in waiting), packet.data])
    )


def _joined(waiting: list[AudioPacket]) -> SoundPacket:
    data = join_packets([packet.data for packet in waiting])
    return SoundPacket(data, waiting[0].start, sum(packet.duration for packet in waiting))


class RecordingFeed:
    """Plays a recording in a loop from the moment the receiver has its first source image. See
    `server.sender.media.feed.Feed`.
    """

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
        self._sources = RecordedSources(recording.driven)
        self._shown: int | None = None  # source image
        self._tasks: list[asyncio.Task[None]] = []
        self.sound = SoundQueue(asyncio.get_running_loop()) if sound and recording.sound else None
        self.dropped = 0

    def start(self) -> None:
        """Offer the first sources."""
        self._offer(self._sources.show(0))

    def source_taken(self, index: int) -> None:
        """Begin once the first frame's is there; later connections find the recording wherever it is by then."""
        self._offer(self._sources.arrived(index))
        if self._tasks or self._sources.place(0) is None:
            return
        timeline = Timeline(self._clock(), self._recording.duration)
        self._tasks.append(asyncio.create_task(self._play_motion(timeline), name="visavis-recording"))
        if self.sound is not None:
            self._tasks.append(asyncio.create_task(self._play_sound(timeline, self.sound), name="visavis-voice"))

    def source_refused(self, index: int, error: VisavisError) -> None:
        """A recording has no other picture: it ends."""
        self._listener.on_end(error)

    def _offer(self, placed: list[Placed]) -> None:
        for place, source in placed:
            self._listener.on_source(SourceImage(place, self._recording.sources[source], source))

    def _offer_windows(self, source: int) -> None:
        """Each source image shows another person's mouth: its windows take the slots when it is shown."""
        if source == self._shown:
            return
        self._shown = source
        free = {kind: iter(slots) for kind, slots in SLOTS_OF_KIND.items()}
        for data in self._recording.windows[source]:
            slot = next(free.get(data[0], iter(())), None)
            if slot is not None:  # a receiver would refuse what is of no kind, or one too many
                self._listener.on_window(WindowUpload(slot, data, source))

    async def close(self) -> None:
        """Stop playing; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _play_motion(self, timeline: Timeline) -> None:
        lap = 0
        while True:
            for frame, (vector, time) in enumerate(zip(self._recording.vectors, self._recording.times, strict=True)):
                due = timeline.due(lap, float(time))
                if not self._pacer.accept(due):
                    continue
                await self._until(due)
                late = self._clock() - due
                if late > LATEST_FRAME:  # the machine was held up, or asleep: the frames of that time are history
                    self.dropped += 1
                    continue
                self._offer(self._sources.show(frame))
                place = self._sources.place(frame)
                if place is None:  # its source image is on its way
                    self.dropped += 1
                    continue
                self._offer_windows(self._recording.driven[frame])
                sample = MotionSample(vector, due, place)
                self._listener.on_motion(sample, StageTimes(capture=0.0, extract=0.0))
            lap += 1

    async def _play_sound(self, timeline: Timeline, queue: SoundQueue) -> None:
        # A round is as long as the picture; sound that goes beyond it gives way to the next one.
        begin, lap = self._recording.sound[0].start, 0
        end = begin + round(self._recording.duration * AUDIO_RATE)
        while True:
            place = begin
            for packet in self._recording.sound:
                if packet.start + packet.samples > end:
                    break
                await self._be_silent(timeline, queue, lap, place, packet.start)
                await self._put(timeline, queue, lap, packet)
                place = packet.start + packet.samples
            await self._be_silent(timeline, queue, lap, place, end)
            await self._until(timeline.due(lap, end / AUDIO_RATE))
            lap += 1

    async def _be_silent(self, timeline: Timeline, queue: SoundQueue, lap: int, start: int, end: int) -> None:
        """Packets of silence for a gap; what is shorter than one stays a gap."""
        for place in range(start, end - SILENCE_SAMPLES + 1, SILENCE_SAMPLES):
            await self._put(timeline, queue, lap, SoundPacket(SILENCE, place, SILENCE_SAMPLES, silent=True))

    async def _put(self, timeline: Timeline, queue: SoundQueue, lap: int, packet: SoundPacket) -> None:
        # A packet is whole at its end.
        await self._until(timeline.due(lap, (packet.start + packet.samples) / AUDIO_RATE))
        queue.put(replace(packet, start=packet.start + lap * round(self._recording.duration * AUDIO_RATE)))

    async def _until(self, due: float) -> None:
        # Also yields when the time has passed already, so that a late player does not hold up the event loop.
        await self._sleep(max(0.0, due - self._clock()))
