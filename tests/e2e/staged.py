"""A stage for the page: the real signalling server with participants whose media and state a test chooses.

Everything on the wire is real (WebSocket, ICE, DTLS, RTP); only what the faces show is painted here, so that rare
states (signal lost, an avatar, sixteen people) can be looked at without sixteen senders.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from fractions import Fraction
from typing import Any, Literal, Self, TypeVar

import av
import numpy as np
from aiohttp import web
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCDataChannel, RTCRtpSender
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from model.motion import View
from server.app import build_app
from server.auth import Claims, VideoGrant
from server.media.aiortc_private import PacketInlet
from server.routes.parts import PARTS
from server.settings import Settings
from server.signalling.conference import Conference
from server.signalling.ports import PublicationPort, SubscriptionPort

T = TypeVar("T")
SIZE = 256
SECONDS = 30.0
"""How long a call into the stage's thread may take before the test fails."""


PORTRAIT = Image.fromarray(data.astronaut())


def portrait(yaw: float, pitch: float, phase: float) -> NDArray[np.uint8]:
    """The public-domain portrait (scikit-image's astronaut, NASA), moved a little; uint8 (SIZE, SIZE, 3) RGB."""
    x = 224 + 6 * math.sin(phase) + yaw
    y = 112 + 3 * math.sin(2 * phase) - pitch
    box = (x - 105, y - 105, x + 105, y + 105)
    image = PORTRAIT.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image, dtype=np.uint8)


FPS = 8
"""Enough to see that a picture moves; a test may watch five of them on two slow cores."""


class Picture(MediaStreamTrack):
    """A moving portrait that follows the free view."""

    kind = "video"

    def __init__(self, view: Callable[[], View]) -> None:
        super().__init__()
        self._view = view
        self._count = 0
        self._start = 0.0

    async def recv(self) -> av.VideoFrame:
        """The next picture, in real time; yuv420p (aiortc issue 767)."""
        loop = asyncio.get_running_loop()
        if self._count == 0:
            self._start = loop.time()
        await asyncio.sleep(max(0.0, self._start + self._count / FPS - loop.time()))
        view = self._view()
        pixels = portrait(view.yaw, view.pitch, 2 * math.pi * self._count / FPS / 4)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = self._count * 90_000 // FPS, Fraction(1, 90_000)
        self._count += 1
        return frame


class Hum(AudioStreamTrack):
    """A quiet tone that swells like syllables; 48 kHz mono, 20 ms a frame."""

    def __init__(self, loudness: Callable[[], float]) -> None:
        super().__init__()
        self._loudness = loudness
        self._position: int = 0

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms."""
        await super().recv()
        time = (self._position + np.arange(960)) / 48_000
        self._position += 960
        tone = np.sin(2 * np.pi * 180 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)) * self._loudness()
        frame = av.AudioFrame.from_ndarray((tone * 32_000).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._position, Fraction(1, 48_000)
        return frame


class StagedSubscription:
    """One viewer of a staged participant."""

    def __init__(self, publication: StagedPublication) -> None:
        self._publication = publication
        self.view = View()
        self.video: MediaStreamTrack = Picture(lambda: self.view)
        self.audio: MediaStreamTrack | None = Hum(lambda: 0.3)

    def set_view(self, view: View) -> None:
        """Remember every view, for tests to read."""
        self.view = view
        self._publication.views.append(view)

    def bind(self, video: RTCRtpSender | None, audio: RTCRtpSender | None) -> None:
        """Nothing to do: aiortc's own encoder hears keyframe requests by itself."""

    def sent_frames(self) -> list[tuple[int, float]]:
        """Nothing painted was ever captured."""
        return []

    def close(self) -> None:
        """Stop painting."""
        self.video.stop()
        if self.audio is not None:
            self.audio.stop()


class StagedPublication:
    """A publication whose kind, loudness and numbers are set by the test."""

    def __init__(self, participant: str) -> None:
        self.participant = participant
        self.kind: Literal["motion", "camera", "none"] = "none"
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None
        self.audio_level = -127.0
        self.video_codec: Literal["VP8", "H264"] | None = None
        self.numbers: dict[str, Any] = {}
        self.views: list[View] = []

    def attach_motion_channel(self, channel: RTCDataChannel) -> None:
        """A sender of motion."""
        self.kind = "motion"

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        """Nothing to control."""

    def attach_audio(self, source: PacketInlet) -> None:
        """Sound is not listened to."""

    def attach_video(self, source: PacketInlet) -> None:
        """A page's camera; the staged picture stands for it."""
        self.kind = "camera"

    async def add_source(self, index: int, image: bytes) -> str:
        """No source images here."""
        raise NotImplementedError

    async def attach_cached_source(self, index: int, sha256: str) -> bool:
        """No source images here."""
        return False

    async def add_window(self, slot: int, data: bytes) -> None:
        """No source images, no windows."""
        raise NotImplementedError

    def subscribe(self, viewer: str, codec: Literal["VP8", "H264"]) -> SubscriptionPort:
        """A painted picture and a hum."""
        return StagedSubscription(self)

    def statistics(self) -> dict[str, Any]:
        """What the test set."""
        return self.numbers

    async def close(self) -> None:
        """Nothing runs here."""


class Stage:
    """The server in a thread of its own, so that synchronous browser tests can drive it. A context manager."""

    def __init__(self) -> None:
        self.publications: dict[str, StagedPublication] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._runner: web.AppRunner | None = None
        self._conference: Conference | None = None
        self._sockets = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._run(self._start(0))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://localhost:{self.port}/"

    def enter(
        self,
        name: str,
        kind: Literal["motion", "camera", "none"] = "motion",
        *,
        room: str = "lobby",
        avatar: bool = False,
        muted: bool = False,
        camera_off: bool = False,
        loudness: float = -127.0,
        numbers: dict[str, Any] | None = None,
    ) -> str:
        """Let somebody in; returns the participant's id. `loudness` in dBov decides who speaks."""

        async def enter() -> str:
            conference = self._room()
            grant = VideoGrant(room=room, roomJoin=True, canPublish=True, canSubscribe=True)
            claims = Claims(sub=name, exp=0.0, iss="stage", video=grant)
            # A WHIP client needs no signalling connection to stay.
            participant, _ = conference.join(claims, room, name, "whip", None, None)
            if kind != "none":
                publication = StagedPublication(participant.id)
                publication.kind, publication.audio_level, publication.numbers = kind, loudness, numbers or {}
                self.publications[participant.id] = publication
                publisher = conference.publishers._of(participant.id)
                publisher.publication, publisher.announced = publication, True
                conference.act(conference.rooms.published(participant.id, kind))
            conference.act(
                conference.rooms.update(participant.id, avatar=avatar, muted=muted, camera_off=camera_off, media="live")
            )
            return participant.id

        return self._run(enter())

    def change(self, participant: str, **changes: Any) -> None:
        """Change what the roster tells of somebody (`media="lost"`, `muted=True`, `name=...`)."""

        async def change() -> None:
            self._room().act(self._room().rooms.update(participant, **changes))

        self._run(change())

    def leave(self, participant: str) -> None:
        """Somebody goes."""

        async def leave() -> None:
            self._room().leave(participant)

        self._run(leave())

    def stop(self) -> None:
        """The server goes away."""
        self._run(self._stop())

    def restart(self) -> None:
        """The server goes away and comes back on the same port, forgetting everything."""
        self._run(self._stop())
        self._run(self._start(self.port))

    def names(self, room: str = "lobby") -> list[str]:
        """Who is in the room."""

        async def names() -> list[str]:
            return [participant.name for participant in self._room().rooms.roster(room)]

        return self._run(names())

    def _publication(self, participant: str) -> PublicationPort:
        return self.publications.setdefault(participant, StagedPublication(participant))

    def _room(self) -> Conference:
        assert self._conference is not None
        return self._conference

    async def _start(self, port: int) -> int:
        application = build_app(Settings(host="127.0.0.1", port=port), self._publication)
        self._conference = application[PARTS].conference
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(SECONDS)
