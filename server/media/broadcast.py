"""Broadcast: pictures of one publication in, each encoded once per stream on a worker thread, packets to viewers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import av

from server.media.encoder import Codec, EncodedFrame, VideoEncoder
from server.media.fanout import PacketTrack, ViewerQueue
from server.media.picture import PictureTimes, TimedPicture
from server.media.rtp_feedback import BitrateSettings, BitrateSteering, Estimate, KeyframeGate
from server.media.streams import Stream, StreamTable, ViewLimitError

_log = logging.getLogger(__name__)

Measure = Callable[[PictureTimes, float], None]
"""Takes the times of a picture once it has been encoded, and the present time in seconds. Called on the loop."""


@dataclass(frozen=True)
class BroadcastSettings:
    """Knobs of the encoders of one publication."""

    bitrate: BitrateSettings = field(default_factory=BitrateSettings)
    fps: float = 30.0
    keyframe_spacing: float = 0.5  # seconds between forced keyframes of a stream at least
    max_views: int = 8
    settle: float = 0.5  # seconds after which equal views are merged into one stream
    queue_frames: int = 15  # frames that may wait for one viewer
    workers: int = 2  # encoder threads


@dataclass
class BroadcastCounters:
    """What happened since the start."""

    encoded: int = 0
    keyframes: int = 0
    skipped: int = 0  # pictures replaced by newer ones because the encoder was busy
    failed: int = 0


@dataclass(frozen=True)
class _Queued:
    """One picture on its way into one stream's encoder."""

    picture: TimedPicture
    measured: bool  # of the streams that show a picture one measures it, or it would count more than once


@dataclass(eq=False)
class _Worker:
    """The encoder of one stream and what it is doing."""

    encoder: VideoEncoder
    gate: KeyframeGate
    steering: BitrateSteering
    waiting: _Queued | None = None
    task: asyncio.Task[None] | None = None
    last_pts: int = -1


class Broadcast:
    """All methods belong to one event loop, whose clock `now` values must share (any monotonic seconds)."""

    def __init__(
        self,
        settings: BroadcastSettings | None = None,
        clock: Callable[[], float] | None = None,
        measure: Measure | None = None,
    ) -> None:
        self._measure = measure
        self._settings = settings or BroadcastSettings()
        self._clock = clock or asyncio.get_running_loop().time
        self._table = StreamTable(self._settings.max_views, self._settings.settle)
        self._workers: dict[Stream, _Worker] = {}
        self._tracks: dict[Hashable, PacketTrack] = {}
        self._views: dict[Hashable, Hashable] = {}  # what each viewer asked for
        self._estimates: dict[Hashable, Estimate] = {}  # the last of each viewer
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.counters = BroadcastCounters()

    @property
    def viewers(self) -> int:
        """Viewers whose tracks are being read."""
        return sum(track.queue is not None for track in self._tracks.values())

    @property
    def streams(self) -> int:
        """Encoders that run."""
        return sum(stream in self._encoded() for stream in self._table.streams)

    @property
    def dropped(self) -> int:
        """Frames and packets that present viewers did not get because they were slow."""
        return sum(track.dropped for track in self._tracks.values())

    @property
    def tracks(self) -> dict[Hashable, PacketTrack]:
        """Of the viewers whose tracks are being read."""
        return {viewer: track for viewer, track in self._tracks.items() if track.queue is not None}

    def views(self) -> list[Hashable]:
        """The different views that need a picture now, in a stable order."""
        return list(dict.fromkeys(stream.view for stream in self._table.streams))

    def wanted_views(self) -> set[Hashable]:
        """The different views that viewers have asked for, those who do not read their track yet included."""
        return set(self._views.values())

    def shares(self, viewer: Hashable) -> bool:
        """Whether somebody else has asked for the viewer's present view."""
        return viewer in self._views and list(self._views.values()).count(self._views[viewer]) > 1

    def add(self, viewer: Hashable, codec: Codec, view: Hashable, on_stop: Callable[[], None]) -> PacketTrack:
        """A viewer's track, beginning with a keyframe; encoding for it begins when the track is first read.

        `on_stop` is called once when the track ends, whoever ends it. Raises ViewLimitError.
        """
        self._table.check(view)
        self._views[viewer] = view

        def join() -> ViewerQueue:
            wanted, now = self._views[viewer], self._clock()
            try:
                return self._table.join(viewer, codec, wanted, now, self._settings.queue_frames)
            except ViewLimitError:
                # Others took the last free view while this viewer connected: it sees what they see.
                shared = self._table.any_view()
                return self._table.join(viewer, codec, shared, now, self._settings.queue_frames)

        def stopped() -> None:
            self.remove(viewer)
            on_stop()

        track = PacketTrack(join, stopped)
        self._tracks[viewer] = track
        return track

    def turn(self, viewer: Hashable, view: Hashable) -> None:
        """Show a viewer another view. Raises ViewLimitError."""
        track = self._tracks.get(viewer)
        if track is None:
            return
        if track.queue is None:
            self._table.check(view)
        else:
            self._table.turn(viewer, view, self._clock())
        self._views[viewer] = view

    def request_keyframe(self, viewer: Hashable) -> None:
        """The viewer's decoder lost pictures (PLI, FIR): its stream brings a keyframe soon, once for all who ask."""
        worker = self._worker_of(viewer)
        if worker is not None:
            worker.gate.request()

    def estimate(self, viewer: Hashable, bits_per_second: int) -> None:
        """The viewer's receiver estimated its maximum rate (REMB)."""
        now, own = self._clock(), self._worker_of(viewer)
        self._estimates[viewer] = Estimate(now, bits_per_second)
        for worker in self._workers.values():
            if worker is own:
                worker.steering.estimate(viewer, bits_per_second, now)
            else:
                worker.steering.forget(viewer)

    def remove(self, viewer: Hashable) -> None:
        """Forget a viewer and end its track; idempotent."""
        track = self._tracks.pop(viewer, None)
        if track is None:
            return
        del self._views[viewer]
        self._estimates.pop(viewer, None)
        self._table.leave(viewer)
        for worker in self._workers.values():
            worker.steering.forget(viewer)
        self._workers = {stream: worker for stream, worker in self._workers.items() if stream in self._table.streams}
        track.stop()

    def show(self, view: Hashable, picture: TimedPicture) -> None:
        """Give the newest picture of a view to its streams; a stream whose encoder is busy keeps only the newest.

        Each encoded frame carries the picture's times on.
        """
        if self._closed:
            return
        measured = picture.times is not None
        self._table.merge(self._clock())
        encoded = self._encoded()
        for stream in self._table.streams:
            if stream.view != view or stream not in encoded:
                continue
            worker = self._worker(stream)
            if picture.pts <= worker.last_pts:
                continue
            worker.last_pts = picture.pts
            queued, measured = _Queued(picture, measured), False
            if worker.task is not None:
                self.counters.skipped += worker.waiting is not None
                worker.waiting = queued
            else:
                worker.task = asyncio.ensure_future(self._encode(stream, worker, queued))
                self._tasks.add(worker.task)
                worker.task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all tracks, wait for the encoders, give their threads back; idempotent."""
        self._closed = True
        for viewer in list(self._tracks):
            self.remove(viewer)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._workers.clear()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)  # idle by now: this joins threads that are already leaving

    def _encoded(self) -> set[Hashable]:
        """Streams that some viewer watches who does not get a camera's own packets."""
        queues = [track.queue for track in self._tracks.values() if track.queue is not None and not track.forwards]
        return {stream for queue in queues for stream in queue.streams}

    def _worker(self, stream: Stream) -> _Worker:
        worker = self._workers.get(stream)
        if worker is None:
            watching = {name for name, track in self._tracks.items() if track.queue and track.queue.stream is stream}
            known = {viewer: estimate for viewer, estimate in self._estimates.items() if viewer in watching}
            steering = BitrateSteering(self._settings.bitrate, known)
            worker = self._workers[stream] = _Worker(
                VideoEncoder(stream.codec, steering.target, self._settings.fps),
                KeyframeGate(self._settings.keyframe_spacing),
                steering,
            )
        return worker

    def _worker_of(self, viewer: Hashable) -> _Worker | None:
        track = self._tracks.get(viewer)
        stream = track.queue.stream if track is not None and track.queue is not None else None
        return self._workers.get(stream) if isinstance(stream, Stream) else None

    async def _encode(self, stream: Stream, worker: _Worker, queued: _Queued) -> None:
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._settings.workers, thread_name_prefix="video-encoder")
        try:
            while not self._closed:
                begin = self._clock()
                if stream in self._table.wanting_keyframe():
                    worker.gate.request()
                keyframe = worker.gate.take(begin)
                worker.steering.update(begin)
                picture = queued.picture
                frame = await loop.run_in_executor(
                    self._pool, _encode, worker.encoder, worker.steering.target, picture, keyframe
                )
                now = self._clock()
                times = None if picture.times is None else replace(picture.times, encode=now - begin)
                if frame is not None:
                    self._deliver(stream, worker, replace(frame, times=times), now)
                if queued.measured and times is not None and self._measure is not None:
                    self._measure(times, now)
                if worker.waiting is None:
                    return
                queued, worker.waiting = worker.waiting, None
        except av.FFmpegError:
            # One picture is missing; the next one tries again with a fresh encoder.
            _log.exception("a picture could not be encoded")
            self.counters.failed += 1
            self._workers.pop(stream, None)
        finally:
            worker.task = None

    def _deliver(self, stream: Stream, worker: _Worker, frame: EncodedFrame, now: float) -> None:
        self.counters.encoded += 1
        if frame.keyframe:
            self.counters.keyframes += 1
            worker.gate.made(now)
        for track in list(self._tracks.values()):
            track.offer(stream, frame)


def _encode(encoder: VideoEncoder, bit_rate: int, picture: TimedPicture, keyframe: bool) -> EncodedFrame | None:
    encoder.set_bit_rate(bit_rate)
    return encoder.encode(picture.planes, picture.pts, keyframe)
