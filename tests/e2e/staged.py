"""A stage for the page: the real signalling server with participants whose media and state a test chooses.

Everything on the wire is real (WebSocket, ICE, DTLS, RTP); only what the faces show is painted here, so that rare
states (signal lost, an avatar, sixteen people) can be looked at without sixteen senders.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from aiohttp import web
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCDataChannel, RTCRtpSender
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from model.codec.decoder import MotionDecoder
from model.motion import View
from model.talking_head import load_trained
from server.app import build_app
from server.auth import Claims, VideoGrant
from server.errors import CapacityError
from server.media.aiortc_private import PacketInlet
from server.media.media_packet import MediaPacket
from server.media.recorder import MediaRecorder
from server.routes.parts import PARTS, Parts
from server.settings import Settings
from server.signalling.conference import Conference
from server.signalling.ports import PublicationPort, SubscriptionPort
from server.wire.control import ControlMessage, parse_control
from tests.e2e.threaded_server import ThreadedServer

SIZE = 256

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

    def __init__(self, participant: str, pictures: dict[str, bytes]) -> None:
        """`pictures`: source images by their SHA-256, which all publications share."""
        self.participant = participant
        self._pictures = pictures
        self.kind: Literal["motion", "camera", "none"] = "none"
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None
        self.audio_level = -127.0
        self.video_codec: Literal["VP8", "H264"] | None = None
        self.recorder: MediaRecorder | None = None
        self.numbers: dict[str, Any] = {}
        self.views: list[View] = []
        self.sources: dict[int, bytes] = {}
        self.scenes: dict[int, int] = {}
        """Of the sources, by their index."""
        self.windows: list[tuple[int, int, bytes]] = []
        """Slot, scene and bytes of windows as they came."""
        self.messages: list[bytes] = []
        """Of motion, the first thousand, whichever way they came."""
        self.frames = 0
        """Of motion, all that came."""
        self.behind_voice = 0
        """Messages behind the voice."""
        self.voice: list[MediaPacket] = []
        """Packets of sound, the first thousand."""
        self._channel: RTCDataChannel | None = None
        self._decoder = MotionDecoder(load_trained().statistics)
        self.control: list[ControlMessage] = []
        """Of the channel `control`, the first thousand."""
        self.cameras = 0
        """Camera tracks that came."""

    def attach_motion_channel(self, channel: RTCDataChannel) -> None:
        """A sender of motion: what it sends is kept, and acknowledged as a receiver would."""
        self.kind = "motion"
        self._channel = channel
        channel.on("message", self._take)

    def _take(self, message: bytes) -> None:
        if len(self.messages) < 1000:
            self.messages.append(message)
        self.frames += len(self._decoder.decode(message))
        answer = self._decoder.acknowledgement()
        if answer is not None and self._channel is not None and len(self.messages) % 10 == 0:
            self._channel.send(answer)

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        """Keep what the sender says."""

        @channel.on("message")
        def take(message: bytes) -> None:
            said = parse_control(message)
            if said is not None and len(self.control) < 1000:
                self.control.append(said)

    def silence(self, silent: bool) -> None:
        """Nothing is heard here anyway."""

    def mark_avatar(self, avatar: bool) -> None:
        """The staged picture has no mark."""

    def attach_audio(self, source: PacketInlet) -> None:
        """Sound is counted, and motion behind it taken."""

        def heard(packet: MediaPacket) -> None:
            if len(self.voice) < 1000:
                self.voice.append(packet)

        def behind(message: bytes) -> None:
            self.behind_voice += 1
            self._take(message)

        source.on_packet, source.on_trailer = heard, behind

    def attach_video(self, source: PacketInlet) -> None:
        """A page's camera; the staged picture stands for it."""
        self.kind = "camera"
        self.cameras += 1

    async def add_source(self, index: int, image: bytes, scene: int = 0) -> str:
        """Keep a page's picture."""
        sha256 = hashlib.sha256(image).hexdigest()
        self._pictures[sha256] = self.sources[index] = image
        self.scenes[index] = scene
        return sha256

    async def attach_cached_source(self, index: int, sha256: str, scene: int | None = None) -> bool:
        """Use a picture that was kept."""
        if sha256 not in self._pictures:
            return False
        self.sources[index] = self._pictures[sha256]
        self.scenes[index] = scene or 0
        return True

    async def add_window(self, slot: int, data: bytes, scene: int = 0) -> None:
        """Keep a page's window."""
        self.windows.append((slot, scene, data))

    def subscribe(self, viewer: str, codec: Literal["VP8", "H264"]) -> SubscriptionPort:
        """A painted picture and a hum."""
        return StagedSubscription(self)

    def record(self, recorder: MediaRecorder | None) -> None:
        """Remember who records; nothing is told to it."""
        self.recorder = recorder

    def statistics(self) -> dict[str, Any]:
        """What the test set."""
        return self.numbers

    async def close(self) -> None:
        """Nothing runs here."""


class Stage(ThreadedServer):
    """The server, and what tests do to it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("stage")
        self._settings = settings
        self._parts: Parts | None = None
        self.publications: dict[str, StagedPublication] = {}
        self.pictures: dict[str, bytes] = {}
        """All source images that were uploaded, by their SHA-256."""
        self._runner: web.AppRunner | None = None
        self._conference: Conference | None = None
        self._sockets = 0
        self.offers: list[str] = []
        """Session descriptions by which somebody published."""
        self.weights: list[str | None] = []
        """Of the motion in each of them, as its sender said."""

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://localhost:{self.port}/"

    def token(self, room: str = "lobby", *, invite: bool = False, record: bool = False) -> str:
        """A token for the room, signed with the server's key."""
        assert self._parts is not None
        return self._parts.authority.mint(room, invite=invite, record=record)

    def administer(self, action: Literal["remove", "mute", "close"], name: str = "", room: str = "lobby") -> None:
        """Remove or mute the participant of that name, or close the room."""

        async def act() -> None:
            administration = self._room().administration
            if action == "close":
                administration.close(room)
                return
            (who,) = [p.id for p in self._room().rooms.roster(room) if p.name == name]
            if action == "mute":
                administration.mute(room, who, True)
            else:
                administration.remove(room, who)

        self.run(act())

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
                publication = StagedPublication(participant.id, self.pictures)
                publication.kind, publication.audio_level, publication.numbers = kind, loudness, numbers or {}
                self.publications[participant.id] = publication
                publisher = conference.publishers._of(participant.id)
                publisher.publication, publisher.announced = publication, True
                conference.act(conference.rooms.published(participant.id, kind))
            conference.act(
                conference.rooms.update(participant.id, avatar=avatar, muted=muted, camera_off=camera_off, media="live")
            )
            return participant.id

        return self.run(enter())

    @contextmanager
    def full(self) -> Iterator[None]:
        """A server that has no time to render one more face."""

        def refuse(participant: str) -> None:
            raise CapacityError("the server has no time to render one more face")

        publishers = self._room().publishers
        admit, publishers._admit = publishers._admit, refuse
        try:
            yield
        finally:
            publishers._admit = admit

    @contextmanager
    def rendering_with(self, weights: str) -> Iterator[None]:
        """A server that knows its weights; else all motion is welcome."""
        publishers = self._room().publishers
        publishers.weights = weights
        try:
            yield
        finally:
            publishers.weights = None

    def change(self, participant: str, **changes: Any) -> None:
        """Change what the roster tells of somebody (`media="lost"`, `muted=True`, `name=...`)."""

        async def change() -> None:
            self._room().act(self._room().rooms.update(participant, **changes))

        self.run(change())

    def leave(self, participant: str) -> None:
        """Somebody goes."""

        async def leave() -> None:
            self._room().leave(participant)

        self.run(leave())

    def stop(self) -> None:
        """The server goes away."""
        self.run(self._stop())

    def restart(self) -> None:
        """The server goes away and comes back on the same port, forgetting everything."""
        self.run(self._stop())
        self.run(self._start(self.port))

    def names(self, room: str = "lobby") -> list[str]:
        """Who is in the room."""

        async def names() -> list[str]:
            return [entry.name for entry in self._room().rooms.roster(room) if not entry.preview]

        return self.run(names())

    def name_of(self, participant: str) -> str | None:
        """The name of somebody in the roster."""

        async def name() -> str | None:
            everybody = [entry for room in self._room().rooms.names() for entry in self._room().rooms.roster(room)]
            return next((entry.name for entry in everybody if entry.id == participant and not entry.preview), None)

        return self.run(name())

    def _publication(self, participant: str) -> PublicationPort:
        return self.publications.setdefault(participant, StagedPublication(participant, self.pictures))

    def _room(self) -> Conference:
        assert self._conference is not None
        return self._conference

    async def _start(self, port: int) -> int:
        application = build_app(Settings(host="127.0.0.1", port=port, **self._settings), self._publication)
        self._parts = application[PARTS]
        self._conference = self._parts.conference
        publish = self._conference.publish

        async def publish_and_keep(participant: str, sdp: str, weights: str | None = None) -> str:
            self.offers.append(sdp)
            self.weights.append(weights)
            return await publish(participant, sdp, weights)

        self._conference.publish = publish_and_keep  # type: ignore[method-assign]
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
