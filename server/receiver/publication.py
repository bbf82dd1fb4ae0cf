"""One publishing participant's media, whatever its kind: channels and tracks in, subscriptions out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiortc import RTCDataChannel

from model.codec.decoder import DecodedFrame, MotionDecoder
from model.media.face_mark import FaceMark
from model.motion import View
from server.errors import CapacityError
from server.media.audio_relay import AudioRelay
from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.encoder import Codec
from server.media.forwarding import Forwarding
from server.media.media_packet import MediaPacket, PacketSource
from server.media.recorder import MediaRecorder, MotionModel
from server.receiver.camera_video import CameraVideo
from server.receiver.control_session import ControlSession
from server.receiver.latency_meter import LatencyMeter
from server.receiver.lip_sync import LipSync, sound_age
from server.receiver.motion_inlet import MotionInlet
from server.receiver.motion_video import MotionVideo
from server.receiver.observer import Observer, SilentObserver
from server.receiver.picture_size import PATIENCE, PictureSize, SpareTime
from server.receiver.playout import PlayoutBuffer, PlayoutSettings, State
from server.receiver.render_engine import RenderEngine
from server.receiver.rendered_view import FRONT, ViewKey, quantise_view
from server.receiver.source_cache import SourceCache
from server.receiver.source_slots import SourceSlots
from server.receiver.subscription import Subscription
from server.wire.control import ReceiverStatistics

_log = logging.getLogger(__name__)

Kind = Literal["motion", "camera", "none"]

_LONGEST_WAY = 10.0  # seconds from capture to here that a sender's word is taken for in a recording

_CAMERA_LOST_AFTER = 1.0  # seconds without a picture


@dataclass(frozen=True)
class PublicationSettings:
    """Knobs of one publication."""

    fps: float = 30.0  # output pictures a second
    max_sources: int = 8  # source images one participant may hold
    gone_after_s: float = 5.0  # silence of the peer after which it is gone
    acknowledge_every: float = 0.17  # seconds between acknowledgements of motion behind the voice at least
    acknowledge_channel_every: float = 0.5  # the same on the data channel, where each costs a SACK
    mark_rendered: bool = False  # draw a mark into faces that are their sender's own, too
    playout: PlayoutSettings = field(default_factory=PlayoutSettings)
    broadcast: BroadcastSettings = field(default_factory=BroadcastSettings)


class Publication:
    """Everything that one publishing participant's media is. All methods belong to one event loop.

    `awake` is a clock that stands still while the process does: the peer's silence is measured with it.
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
        awake: Callable[[], float] | None = None,
    ) -> None:
        self.participant = participant
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None
        self._settings = settings or PublicationSettings()
        self._engine = engine
        self._clock = clock
        metrics = metrics or SilentObserver()
        self._playout = PlayoutBuffer(self._settings.playout, 1 / self._settings.fps)
        self._sources = SourceSlots(sources, self._settings.max_sources)
        self._control = ControlSession(
            clock, self._announced, self._peer_gone, self._settings.gone_after_s, awake or clock
        )
        self._inlet = MotionInlet(
            self._playout,
            self._control,
            clock,
            metrics,
            self._settings.acknowledge_every,
            self._settings.acknowledge_channel_every,
        )
        self.latency = LatencyMeter(self._control, self._inlet.arrival_age, metrics)
        self._broadcast = Broadcast(
            replace(self._settings.broadcast, fps=self._settings.fps), clock, self.latency.picture_encoded
        )
        self._video = MotionVideo(
            self._playout,
            self._sources,
            self._control,
            engine,
            self._broadcast,
            metrics,
            clock,
            self._settings.fps,
        )
        self.mark_avatar(False)
        self._forwarding = Forwarding(lambda: self._broadcast.tracks, clock, self._settings.broadcast.bitrate)
        self._camera = CameraVideo(self._broadcast, self._forwarding, clock, self._settings.fps)
        # Each publication has its own patience, or all would become sharp at once and find that it is too much.
        self._size = PictureSize(engine.sizes, PATIENCE * random.uniform(1.0, 2.0))
        self._spare = SpareTime()
        self.audio = AudioRelay(clock)
        self._lip_sync = LipSync(self.latency, self._control, self._playout.delay, self.audio)
        self._recorder: MediaRecorder | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._state: State = "waiting"
        self._closed = False

    @property
    def kind(self) -> Kind:
        """What arrives; motion wins over a camera; `none` until a channel or a track is attached."""
        if self._inlet.attached:
            return "motion"
        return "camera" if self._camera.attached else "none"

    @property
    def video_codec(self) -> Codec | None:
        """What viewers should take if they can: a camera's own codec, which need not be encoded again."""
        return self._camera.codec if self.kind == "camera" else None

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
        self._camera.detach()  # motion wins
        self._promise()
        self._inlet.attach(channel, MotionDecoder(self._engine.known.statistics))
        self._start("video", self._video.run)
        self._start("watch", self._watch)

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        """Exchange pings, source announcements and states on `channel`; silence on it means that the peer is gone."""
        self._control.attach(channel)
        self._start("watch", self._watch)

    def silence(self, silent: bool) -> None:
        """Forward no sound while `silent`."""
        self.audio.silence(silent)

    def mark_avatar(self, avatar: bool) -> None:
        """Draw the mark of an avatar into every picture of motion while `avatar`; a camera's pictures have none."""
        own: FaceMark | None = "rendered" if self._settings.mark_rendered else None
        self._video.face_mark = "avatar" if avatar else own

    def attach_audio(self, source: PacketSource) -> None:
        """Forward sound from `source`, and take the motion that comes behind it."""
        self.audio.attach(source)
        self._inlet.attach_voice(source)
        self._start("watch", self._watch)

    def attach_video(self, source: PacketSource) -> None:
        """Forward a camera's packets from `source`; nothing of it is wanted beside motion."""
        if self._inlet.attached:
            return
        self._camera.attach(source)
        self._start("watch", self._watch)

    async def add_source(self, index: int, image: bytes, scene: int = 0) -> str:
        """Decode, check and enrol a source image; returns its SHA-256 in hex.

        Raises InputError (413, 415 and 422 among them), FaceError, SourceCacheFullError, EngineError, ConflictError.
        """
        sha256 = await self._sources.add(index, image, scene)
        self._record_source(index)
        return sha256

    async def attach_cached_source(self, index: int, sha256: str, scene: int | None = None) -> bool:
        """Use a source image that the cache still holds; False when it must be uploaded.

        Raises InputError, ConflictError.
        """
        if not self._sources.attach(index, sha256, scene):
            return False
        await self._sources.join(index)
        self._record_source(index)
        return True

    async def add_window(self, slot: int, data: bytes, scene: int = 0) -> None:
        """Take a window in place of the one in that slot; it stands beside the source images of its scene.

        Raises InputError, SourceCacheFullError, EngineError, ConflictError.
        """
        await self._sources.add_window(slot, data, scene)
        for index in self._sources.indices:
            self._record_source(index)

    def record(self, recorder: MediaRecorder | None) -> None:
        """Tell `recorder` everything that comes from now on, beginning with the source images; nobody with None."""
        if recorder is self._recorder:
            return
        self._recorder = recorder
        self._inlet.on_accepted = None if recorder is None else self._record_motion
        self.audio.on_accepted = None if recorder is None else self._record_sound
        self._camera.on_accepted = None if recorder is None else self._record_picture
        if recorder is None:
            return
        model = self._engine.known
        recorder.model(MotionModel(model.profile.name, model.profile.keypoints, model.profile.size, model.weights_hash))
        for index in self._sources.indices:
            self._record_source(index)
        if self._camera.attached:
            self._forwarding.request_keyframe()

    # The viewers' side

    def subscribe(self, viewer: str, codec: Codec, view: View | None = None) -> Subscription:
        """One viewer's tracks; rendering for it starts when its track is first read.

        `viewer` must be unique among the present ones. Raises ViewLimitError, CapacityError.
        """
        key: ViewKey = FRONT if view is None else quantise_view(view)
        self._check_capacity(key)
        audio = self.audio.add()
        try:
            video = self._broadcast.add(viewer, codec, key, lambda: None)
        except Exception:
            audio.stop()
            raise
        self._promise()
        return Subscription(self._broadcast, self._forwarding, viewer, video, audio, self._clock, self._check_capacity)

    def statistics(self) -> dict[str, Any]:
        """JSON-ready numbers of the last seconds: what the page's numbers panel shows."""
        now = self._clock()
        stages = {
            name: round(1000 * seconds, 1)
            for name, seconds in (self._control.sender_stages | self.latency.medians).items()
        }
        total = self.latency.total_95
        round_trip = self._control.sync.round_trip
        offset = self._control.sync.offset
        statistics: dict[str, Any] = {
            "kind": self.kind,
            "state": self._state,
            "paused": self._control.paused,
            "fps": round(self.latency.picture_rate(now), 1),
            "viewers": self._broadcast.viewers,
            "encoders": self._broadcast.streams,
            "round_trip_ms": None if round_trip is None else round(1000 * round_trip, 1),
            "clock_offset_ms": None if offset is None else round(1000 * offset, 1),
            "audio_delay_ms": round(1000 * self.audio.delay, 1),
            "stages": stages,
            "latency_ms_p95": None if total is None else round(1000 * total, 1),
            "shown_capture_ms": None if self._video.last is None else self._video.last.capture_ms % (1 << 32),
        }
        if self.kind == "camera":
            statistics["forwarded"] = self._forwarding.viewers
            statistics["refused"] = self._camera.refused
        if self.kind == "motion":
            statistics |= self._inlet.statistics(now)
            statistics["playout_depth_ms"] = round(1000 * self._playout.depth, 1)
            statistics["picture_px"] = self._video.size
            statistics["freezes"] = self._playout.counters.freezes
            statistics["late"] = self._playout.counters.late
        return statistics

    async def close(self) -> None:
        """End every subscription, task and worker; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._engine.capacity.promise(self.participant, 0)
        self._control.detach()
        self._inlet.close()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._camera.close()
        await self._broadcast.close()
        await self.audio.close()
        self._sources.close()

    # Inside

    def _announced(self, index: int, sha256: str) -> bool:
        known = self._sources.announce(index, sha256)
        self._record_source(index)
        return known

    def _record_source(self, index: int) -> None:
        image = self._sources.image(index)
        if self._recorder is not None and image is not None:
            self._recorder.source(index, image, self._sources.windows(index))

    def _record_motion(self, message: bytes, first: DecodedFrame) -> bool:
        now = self._clock()
        age = self._control.sync.age(first.capture_ms, now) or 0.0
        captured = now - min(max(0.0, age), _LONGEST_WAY)
        return self._recorder is None or self._recorder.motion(message, first.source, first.capture_ms, captured)

    def _record_sound(self, packet: MediaPacket) -> None:
        if self._recorder is not None:
            # A camera's pictures and sound are placed by when they come.
            camera = self.kind == "camera"
            age = 0.0 if camera else min(max(0.0, sound_age(self._control)), _LONGEST_WAY)
            self._recorder.sound(packet, self._clock() - age, alone=not camera)

    def _record_picture(self, packet: MediaPacket, keyframe: bool) -> None:
        if self._recorder is not None and self._recorder.picture(packet, self._clock(), keyframe):
            self._forwarding.request_keyframe()

    def _check_capacity(self, view: ViewKey) -> None:
        """Raise CapacityError when the machine has no time for one more view; one that is rendered already is free."""
        if self.kind != "motion" or not (views := self._broadcast.wanted_views()) or view in views:
            return  # the first view was promised when the publisher came
        if not self._engine.capacity.admits(self._clock()):
            raise CapacityError("the server has no time to render one more view")

    def _promise(self) -> None:
        """Let the engine's capacity know how many views it owes here: one even before somebody watches."""
        if self.kind == "motion" and not self._closed:
            self._engine.capacity.promise(self.participant, max(1, len(self._broadcast.wanted_views())))

    def _start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task under a name, unless it runs already."""
        task = self._tasks.get(name)
        if self._closed or (task is not None and not task.done()):
            return
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
        self._control.tick(now)
        self._lip_sync.update()
        self._promise()
        self._update_state()
        if self.kind == "motion":
            spare = self._spare.update(now, self._engine.statistics.busy)
            last = self._video.last
            source = None if last is None else self._sources.state(last.source)
            detailed, fits = source is not None and source.sharp is not None, self._engine.capacity.sharp_fits(now)
            self._video.size = self._size.update(now, spare, detailed, fits, self._engine.on_gpu)
            figures = self.statistics()
            names = ("fps", "state", "loss_percent", "viewers")
            self._control.report(ReceiverStatistics(**{name: figures[name] for name in names}))

    def _update_state(self) -> None:
        state: State = "waiting"
        if self.kind == "motion" and self._video.last is not None:
            state = self._video.last.state
            if state == "lost" and self._control.paused:
                state = "live"  # the sender sees no face and says so: nothing is wrong with the line
            if self._sources.state(self._video.last.source) is None:
                state = "waiting"
        elif self.kind == "camera" and self._camera.silent_for is not None:
            state = "lost" if self._camera.silent_for > _CAMERA_LOST_AFTER else "live"
        if state != self._state:
            self._state = state
            if self.on_state is not None:
                self.on_state(state)

    def _peer_gone(self) -> None:
        if self.on_gone is not None:
            self.on_gone()
