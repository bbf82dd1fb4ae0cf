"""One publishing participant's media, whatever its kind: channels and tracks in, subscriptions out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpSender

from model.codec.stream import MotionDecoder
from model.errors import InputError
from model.motion import View
from server.errors import ConflictError
from server.media.aiortc_private import AUDIO_HOLD_PACKETS, route_feedback, rtp_timestamp
from server.media.audio_delay import lip_sync
from server.media.audio_relay import PACKET_SAMPLES, SAMPLE_RATE, AudioRelay, AudioTrack
from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.encoder import Codec
from server.media.fanout import PacketTrack
from server.media.sent_frames import SentFrames
from server.rate_window import RateWindow
from server.receiver.camera_video import CameraVideo
from server.receiver.control_session import ControlSession
from server.receiver.measures import Percentiles
from server.receiver.motion_inlet import RATE_SECONDS, MotionInlet
from server.receiver.motion_video import FRONT, MotionVideo, PictureTimes, ViewKey, quantise_view
from server.receiver.observer import Observer, SilentObserver
from server.receiver.playout import PlayoutBuffer, PlayoutSettings, State
from server.receiver.render_engine import RenderEngine
from server.receiver.source_cache import SourceCache
from server.wire.control import ReceiverStatistics

if TYPE_CHECKING:
    from model.talking_head import SourceState

_log = logging.getLogger(__name__)

Kind = Literal["motion", "camera", "none"]

_PACKET_SECONDS = PACKET_SAMPLES / SAMPLE_RATE
_CAMERA_LOST_AFTER = 1.0  # seconds without a picture


@dataclass(frozen=True)
class PublicationSettings:
    """Knobs of one publication."""

    fps: float = 30.0  # output pictures a second
    max_sources: int = 8  # source images one participant may hold
    gone_after_s: float = 5.0  # silence of the peer after which it is gone
    acknowledge_every: float = 0.25  # seconds between acknowledgements of motion at least
    audio_bit_rate: int = 48_000  # Opus, bits a second
    playout: PlayoutSettings = field(default_factory=PlayoutSettings)
    broadcast: BroadcastSettings = field(default_factory=BroadcastSettings)


class Subscription:
    """One viewer's share of a publication. Made by `Publication.subscribe`."""

    def __init__(self, broadcast: Broadcast, viewer: str, video: PacketTrack, audio: AudioTrack) -> None:
        self.video: PacketTrack = video  # yields av.Packet
        self.audio: MediaStreamTrack = audio  # yields av.Packet (Opus); nothing while the publisher sends no sound
        self._broadcast = broadcast
        self._viewer = viewer
        self._sent = SentFrames()

    def set_view(self, view: View) -> None:
        """Show another free view; clamped to |yaw| <= 45, |pitch| <= 30, |roll| <= 30 and whole degrees.

        Raises ViewLimitError when too many different views are watched; the view stays as it was.
        """
        self._broadcast.turn(self._viewer, quantise_view(view))

    def bind(self, video_sender: RTCRtpSender) -> None:
        """Route the sender's keyframe requests (PLI, FIR) and bandwidth estimates (REMB) to the shared encoder, and
        note under which RTP timestamp each picture goes out.
        """
        broadcast, viewer, sent = self._broadcast, self._viewer, self._sent
        self.video.on_sent = lambda frame: sent.add(rtp_timestamp(video_sender), frame.captured)
        route_feedback(
            video_sender,
            lambda: broadcast.request_keyframe(viewer),
            lambda bits_per_second: broadcast.estimate(viewer, bits_per_second),
        )

    def sent_frames(self) -> list[tuple[int, float]]:
        """Pictures sent since this was asked last: RTP timestamp, capture time in seconds of the receiver's clock."""
        return self._sent.take()

    def close(self) -> None:
        """Leave; idempotent."""
        self.video.stop()
        self.audio.stop()


class Publication:
    """Everything that one publishing participant's media is. All methods belong to one event loop.

    `on_gone()` is called once when the peer has been silent for `gone_after_s`; `on_state(state)` when the state
    changes ("waiting" | "live" | "lost").
    """

    def __init__(
        self,
        participant: str,
        engine: RenderEngine,
        sources: SourceCache,
        settings: PublicationSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: Observer | None = None,
    ) -> None:
        self.participant = participant
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None
        self._settings = settings or PublicationSettings()
        self._engine = engine
        self._cache = sources
        self._clock = clock
        self._metrics: Observer = metrics or SilentObserver()
        self._sources: dict[int, str] = {}
        self._broadcast = Broadcast(replace(self._settings.broadcast, fps=self._settings.fps), clock)
        self.audio = AudioRelay(clock, self._settings.audio_bit_rate)
        self._playout = PlayoutBuffer(self._settings.playout, 1 / self._settings.fps)
        self._control = ControlSession(clock, self._announced, self._peer_gone, self._settings.gone_after_s)
        self._inlet = MotionInlet(self._playout, self._control, clock, self._metrics, self._settings.acknowledge_every)
        self._video = MotionVideo(
            self._playout,
            engine,
            self._broadcast,
            self._source_state,
            self._captured,
            clock,
            self._settings.fps,
            self._picture_done,
            self._metrics.frame_dropped,
        )
        self._camera: CameraVideo | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._state: State = "waiting"
        self.stages: dict[str, Percentiles] = {}  # seconds of the last pictures in each stage of this side
        self._picture_rate = RateWindow(RATE_SECONDS, 1.0)
        self._has_audio = False
        self._closed = False

    @property
    def kind(self) -> Kind:
        """What arrives; motion wins over a camera; `none` until a channel or a track is attached."""
        if self._inlet.attached:
            return "motion"
        return "camera" if self._camera is not None else "none"

    @property
    def state(self) -> State:
        """Whether there is something live to see."""
        return self._state

    @property
    def audio_level(self) -> float:
        """Loudness of the last 100 ms of sound, dBov (-127 silent .. 0 loudest)."""
        return self.audio.level

    # The publishing peer's side

    def attach_motion_channel(self, channel: RTCDataChannel) -> None:
        """Take motion messages from `channel`, and acknowledge them there."""
        self._inlet.attach(channel, MotionDecoder(self._engine.model.statistics))
        self._start("video", self._video.run)
        self._start("watch", self._watch)

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        """Exchange pings, source announcements and states on `channel`; silence on it means that the peer is gone."""
        self._control.attach(channel)
        self._start("watch", self._watch)

    def attach_audio(self, track: MediaStreamTrack) -> None:
        """Relay sound from `track`."""
        self._has_audio = True
        self.audio.attach(track)
        self._start("watch", self._watch)

    def attach_video(self, track: MediaStreamTrack) -> None:
        """Relay camera pictures from `track`."""
        # Sound comes late by what aiortc holds back of it; the camera's picture waits as long.
        delay = AUDIO_HOLD_PACKETS * _PACKET_SECONDS
        camera = self._camera = CameraVideo(self._broadcast, self._clock, self._settings.fps, delay)
        self._start("camera", lambda: camera.run(track))
        self._start("watch", self._watch)

    async def add_source(self, index: int, image: bytes) -> str:
        """Decode, check and enrol a source image; returns its SHA-256 in hex.

        Raises InputError (413, 415 and 422 among them), FaceError, SourceCacheFullError, EngineError.
        """
        self._check_index(index)
        self._put_source(index, await self._cache.add(image))
        return self._sources[index]

    async def attach_cached_source(self, index: int, sha256: str) -> bool:
        """Use a source image that the cache still holds; False when it must be uploaded. Raises InputError."""
        self._check_index(index)
        if self._cache.acquire(sha256) is None:
            return False
        self._put_source(index, sha256)
        return True

    # The viewers' side

    def subscribe(self, viewer: str, codec: Codec, view: View | None = None) -> Subscription:
        """One viewer's tracks; rendering for it starts when its track is first read.

        `viewer` must be unique among the present ones. Raises ViewLimitError.
        """
        key: ViewKey = FRONT if view is None else quantise_view(view)
        audio = self.audio.add()
        try:
            video = self._broadcast.add(viewer, codec, key, lambda: None)
        except Exception:
            audio.stop()
            raise
        return Subscription(self._broadcast, viewer, video, audio)

    def statistics(self) -> dict[str, Any]:
        """JSON-ready numbers of the last seconds: what the page's numbers panel shows."""
        now = self._clock()
        stages = {name: round(ms, 1) for name, ms in self._control.sender_stages.items()}
        stages |= {
            name: round(1000 * value.median, 1) for name, value in self.stages.items() if value.median is not None
        }
        total = self.stages["total"].at(0.95) if "total" in self.stages else None
        round_trip = self._control.sync.round_trip_ms
        offset = self._control.sync.offset_ms
        statistics: dict[str, Any] = {
            "kind": self.kind,
            "state": self._state,
            "paused": self._video.paused,
            "fps": round(self._picture_rate.rate(now), 1),
            "viewers": self._broadcast.viewers,
            "encoders": self._broadcast.streams,
            "round_trip_ms": None if round_trip is None else round(round_trip, 1),
            "clock_offset_ms": None if offset is None else round(offset, 1),
            "audio_delay_ms": round(1000 * self.audio.delay, 1),
            "stages": stages,
            "latency_ms_p95": None if total is None else round(1000 * total, 1),
            "shown_capture_ms": None if self._video.last is None else self._video.last.capture_ms % (1 << 32),
        }
        if self.kind == "motion":
            statistics |= self._inlet.statistics(now)
            statistics["playout_depth_ms"] = round(1000 * self._playout.depth, 1)
            statistics["freezes"] = self._playout.counters.freezes
            statistics["late"] = self._playout.counters.late
        return statistics

    async def close(self) -> None:
        """End every subscription, task and worker; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._control.detach()
        self._inlet.detach()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._broadcast.close()
        await self.audio.close()
        for sha256 in self._sources.values():
            self._cache.release(sha256)
        self._sources.clear()

    # Inside

    def _start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task under a name; `watch` and `video` go on, a camera's reader is replaced."""
        task = self._tasks.get(name)
        if self._closed or (task is not None and not task.done() and name != "camera"):
            return
        if task is not None:
            task.cancel()
        task = self._tasks[name] = asyncio.ensure_future(run())
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of publication %s failed", self.participant, exc_info=error)

    async def _watch(self) -> None:
        """Four times a second the state; once a second all that `tick` does."""
        for count in itertools.count():
            if count % 4:
                self._update_state()
            else:
                self.tick(self._clock())
            await asyncio.sleep(0.25)

    def tick(self, now: float) -> None:
        """What is due every second: ping, liveness, lip sync, state, and figures for the sender."""
        self._control.tick(now, self._inlet.last_message)
        self._video.paused = self._control.paused
        self._synchronise()
        self._update_state()
        if self.kind == "motion":
            figures = self.statistics()
            names = ("fps", "state", "loss_percent", "viewers")
            self._control.report(ReceiverStatistics(**{name: figures[name] for name in names}))

    def _update_state(self) -> None:
        state: State = "waiting"
        if self.kind == "motion" and self._video.last is not None:
            state = self._video.last.state
            if state == "lost" and self._control.paused:
                state = "live"  # the sender sees no face and says so: nothing is wrong with the line
            if self._source_state(self._video.last.source) is None:
                state = "waiting"
        elif self._camera is not None and self._camera.silent_for is not None:
            state = "lost" if self._camera.silent_for > _CAMERA_LOST_AFTER else "live"
        if state != self._state:
            self._state = state
            if self.on_state is not None:
                self.on_state(state)

    def _synchronise(self) -> None:
        """Delay sound by what the picture takes longer, or the picture by what sound does."""
        total = self.stages.get("total")
        picture = total.median if total is not None else None
        if picture is None or not self._has_audio or self.kind != "motion":
            return
        transit = (self._control.sync.round_trip_ms or 0.0) / 2000.0
        # A packet leaves when its 20 ms are full, and aiortc decodes it when four more have come.
        sound = _PACKET_SECONDS * (1 + AUDIO_HOLD_PACKETS) + transit
        sound += self._control.sender_stages.get("audio", 0.0) / 1000.0
        waits = self._playout.required_depth
        sync = lip_sync(picture - max(waits - self._playout.natural_depth, 0.0), sound)
        self._playout.require_depth(self._playout.natural_depth + sync.picture_delay if sync.picture_delay else 0.0)
        self.audio.set_delay(sync.sound_delay)

    def _picture_done(self, times: PictureTimes) -> None:
        now = self._clock()
        self._picture_rate.add(1, now)
        self._measure("queue", times.queue)
        self._measure("render", times.render)
        self._measure("video_encode", times.video_encode)
        if times.captured is not None:
            arrival = self._inlet.arrival_age.median
            if arrival is not None:
                sent = sum(self._control.sender_stages.get(name, 0.0) for name in ("capture", "extract", "encode"))
                self._measure("network", max(arrival - sent / 1000, 0.0))
                self._measure("playout", max(times.playout_at - times.captured - arrival, 0.0))
            self._measure("total", now - times.captured)

    def _captured(self, capture_ms: int, now: float) -> float | None:
        """A capture time of the sender's clock in seconds of this clock; None before the two are related."""
        age = self._control.sync.age_ms(capture_ms % (1 << 32), 1000 * now)
        return None if age is None else now - age / 1000

    def _measure(self, stage: str, seconds: float) -> None:
        self.stages.setdefault(stage, Percentiles()).add(seconds)
        self._metrics.stage(stage, seconds)

    def _source_state(self, index: int) -> SourceState | None:
        sha256 = self._sources.get(index)
        return None if sha256 is None else self._cache.state(sha256)

    def _announced(self, index: int, sha256: str) -> bool:
        """The sender is going to use a source image; False when it must upload it."""
        if index >= self._settings.max_sources:
            return True  # refused at the upload, with a reason; asking for it would only repeat that
        if self._sources.get(index) == sha256:
            return True
        if self._cache.acquire(sha256) is None:
            return False
        self._put_source(index, sha256)
        return True

    def _put_source(self, index: int, sha256: str) -> None:
        """Use an acquired source image under this index."""
        if self._closed:
            self._cache.release(sha256)
            raise ConflictError("the publication has ended")
        before, self._sources[index] = self._sources.get(index), sha256
        if before is not None:
            self._cache.release(before)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self._settings.max_sources:
            raise InputError(f"source index {index} is not within 0 ... {self._settings.max_sources - 1}")

    def _peer_gone(self) -> None:
        if self.on_gone is not None:
            self.on_gone()
