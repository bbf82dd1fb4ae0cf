"""What the tests of signalling share: a publication without a model, a client without a browser, and a leak check."""

from __future__ import annotations

import asyncio
import fractions
import gc
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import aiohttp
import av
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from model.codec.window import WindowError
from model.errors import InputError, NoFaceError
from server.app import build_app
from server.errors import TooManyRequestsError
from server.media.aiortc_private import PacketInlet
from server.media.recorder import MediaRecorder
from server.routes.parts import PARTS, Parts
from server.settings import Settings
from server.signalling.administration import Administration
from server.signalling.connection import SharePort
from server.signalling.ports import PublicationFactory

if TYPE_CHECKING:
    from model.motion import View
    from tests.server.fakes import FakeClock

JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 64
NO_FACE = b"\xff\xd8\xff\xe0no face"
DAMAGED = b"\xff\xd8\xff\xe0damaged"
CACHED: set[str] = set()


class GreyVideo(MediaStreamTrack):
    """Small grey pictures, as fast as a camera."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(0.02)
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = self._count * 1800, fractions.Fraction(1, 90000)
        self._count += 1
        return frame


class Silence(MediaStreamTrack):
    """Digital silence, 20 ms at a time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(0.02)
        frame = av.AudioFrame("s16", "mono", 960)
        frame.planes[0].update(bytes(1920))
        frame.pts, frame.sample_rate, frame.time_base = self._count * 960, 48000, fractions.Fraction(1, 48000)
        self._count += 1
        return frame


class FakeSubscription:
    """Grey pictures and silence."""

    def __init__(self) -> None:
        self.video: MediaStreamTrack = GreyVideo()
        self.audio: MediaStreamTrack | None = Silence()
        self.view: View | None = None
        self.bound: RTCRtpSender | None = None
        self.closed = False

    def set_view(self, view: View) -> None:
        self.view = view

    def bind(self, video: RTCRtpSender | None, audio: RTCRtpSender | None) -> None:
        self.bound = video
        del audio

    def sent_frames(self) -> list[tuple[int, float]]:
        return [(90_000, 12.25)]

    def close(self) -> None:
        self.closed = True
        self.video.stop()
        if self.audio is not None:
            self.audio.stop()


class FakePublication:
    """Keeps what it is given; `alive` counts those that were not closed."""

    alive: ClassVar[set[FakePublication]] = set()

    def __init__(self, participant: str) -> None:
        self.participant = participant
        self.kind: Literal["motion", "camera", "none"] = "none"
        self.audio_level = -127.0
        self.silent = False
        self.avatar: bool | None = None
        self.recorder: MediaRecorder | None = None
        self.video_codec: Literal["VP8", "H264"] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None
        self.channels: dict[str, RTCDataChannel] = {}
        self.tracks: list[PacketInlet] = []
        self.sources: dict[int, str] = {}
        self.windows: dict[int, bytes] = {}
        self.busy = 0  # windows that are refused for now
        self.scenes: dict[int, int] = {}
        self.subscriptions: list[FakeSubscription] = []
        self.messages: list[Any] = []
        self.alive.add(self)

    def attach_motion_channel(self, channel: RTCDataChannel) -> None:
        self.kind = "motion"
        self._attach(channel)

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        self._attach(channel)

    def _attach(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("message", self.messages.append)
        if self.on_state is not None:
            self.on_state("live")

    def attach_audio(self, source: PacketInlet) -> None:
        self.tracks.append(source)
        source.on_trailer = self.messages.append

    def attach_video(self, source: PacketInlet) -> None:
        self.kind = "camera"
        self.tracks.append(source)

    def silence(self, silent: bool) -> None:
        self.silent = silent

    def mark_avatar(self, avatar: bool) -> None:
        self.avatar = avatar

    async def add_source(self, index: int, image: bytes, scene: int = 0) -> str:
        if image == NO_FACE:
            raise NoFaceError("no face was found in the source image")
        if image == DAMAGED:
            raise InputError("the image cannot be decoded")
        sha256 = hashlib.sha256(image).hexdigest()
        CACHED.add(sha256)
        self.sources[index] = sha256
        return sha256

    async def attach_cached_source(self, index: int, sha256: str, scene: int | None = None) -> bool:
        if sha256 in CACHED:
            self.sources[index] = sha256
        return sha256 in CACHED

    def record(self, recorder: MediaRecorder | None) -> None:
        self.recorder = recorder

    async def add_window(self, slot: int, data: bytes, scene: int = 0) -> None:
        if self.busy:
            self.busy -= 1
            raise TooManyRequestsError("too many windows")
        if data == DAMAGED:
            raise WindowError("a window of an unknown kind, or too short or too long")
        self.windows[slot] = data
        self.scenes[slot] = scene

    def subscribe(self, viewer: str, codec: Literal["VP8", "H264"]) -> FakeSubscription:
        del viewer, codec
        self.subscriptions.append(FakeSubscription())
        return self.subscriptions[-1]

    def statistics(self) -> dict[str, Any]:
        return {"state": "live", "motion_kbps": 3.0}

    async def close(self) -> None:
        for subscription in self.subscriptions:
            subscription.close()
        self.alive.discard(self)


class Peer:
    """A client's WebSocket: requests in turn, news kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.news: list[dict[str, Any]] = []
        self._id = 0

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._id += 1
        await self.socket.send_json({"type": kind, "id": self._id, **fields})
        return await self.answer(self._id)

    async def answer(self, identifier: int | None) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = await self.socket.receive_json(timeout=10)
            if message["type"] in ("ok", "error") and message["id"] == identifier:
                return message
            self.news.append(message)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message, kept or still to come, that `wanted` accepts; older ones of its type are dropped."""
        while True:
            for place, message in enumerate(self.news):
                if wanted(message):
                    self.news = [
                        m for n, m in enumerate(self.news) if n > place or (n < place and m["type"] != message["type"])
                    ]
                    return message
            self.news.append(await self.socket.receive_json(timeout=10))

    async def roster(self, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        message = await self.until(lambda m: m["type"] == "roster" and wanted(m["participants"]))
        return list(message["participants"])


class Call:
    """A running server and clients for it."""

    def __init__(self, client: TestClient[web.Request, web.Application], parts: Parts) -> None:
        self.client = client
        self.parts = parts

    def token(self, room: str = "lobby", **options: Any) -> str:
        return self.parts.authority.mint(room, **options)

    def bearer(self, room: str = "lobby", **options: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(room, **options)}"}

    async def connect(self, token: str | None = None) -> Peer:
        return Peer(await self.client.ws_connect("/ws", params={"token": token or self.token()}))

    async def join(
        self, name: str = "Ada", room: str = "lobby", identity: str | None = None, **fields: Any
    ) -> tuple[Peer, dict[str, Any]]:
        peer = await self.connect(self.token(room, identity=identity))
        answer = await peer.request("join", room=room, name=name, **fields)
        return peer, answer


async def pass_seconds(clock: FakeClock, seconds: int, *heard: Peer) -> None:
    """Let time pass for a server with that clock, in which these peers are heard."""
    for _ in range(seconds):
        clock.now += 1.0
        for peer in heard:
            await peer.request("ping", t=0.0)


@asynccontextmanager
async def running_call(
    limit: float = 60.0,
    publications: PublicationFactory = FakePublication,
    share_port: SharePort | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[Call]:
    """A server on a free port, by default with fake publications; nothing may be left of it afterwards."""
    before = resources()
    # A client here answers pings only while it reads: nobody is to be thought gone because the machine is busy.
    application = build_app(
        Settings(**{"port": 0, "gone_seconds": 60.0} | settings), publications, share_port=share_port, clock=clock
    )
    async with asyncio.timeout(limit), TestClient(TestServer(application)) as client:
        yield Call(client, application[PARTS])
    assert not FakePublication.alive
    await assert_released(before)


def peer_connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def offer(peer: RTCPeerConnection) -> str:
    await peer.setLocalDescription(await peer.createOffer())
    return str(peer.localDescription.sdp)


async def accept(peer: RTCPeerConnection, sdp: str) -> None:
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


async def connected(peer: RTCPeerConnection) -> None:
    done = asyncio.Event()

    def check() -> None:
        if peer.connectionState == "connected":
            done.set()

    peer.on("connectionstatechange", check)
    check()
    async with asyncio.timeout(20):
        await done.wait()


def resources() -> tuple[int, int, int]:
    """Tasks, decoder threads and file descriptors at present."""
    # The default executor keeps its threads: they are not a call's.
    decoders = sum(thread.name.endswith("-decoder") for thread in threading.enumerate())
    return len(asyncio.all_tasks()), decoders, len(os.listdir("/proc/self/fd"))


async def assert_released(before: tuple[int, int, int]) -> None:
    """No more tasks, threads or descriptors than before; transports may take some turns of the loop to go."""
    for turn in range(100):
        after = resources()
        if all(now <= then for now, then in zip(after, before, strict=True)):
            return
        await asyncio.sleep(0.02)
        if turn % 10 == 9:
            gc.collect()
    tasks = [task.get_name() + repr(task.get_coro()) for task in asyncio.all_tasks()]
    raise AssertionError(f"left over: {before} before, {after} after; threads {threading.enumerate()}; tasks {tasks}")


def dismiss(administration: Administration, room: str, *, closing: bool) -> None:
    """Remove the one who is in a room, or close it."""
    (person,) = administration.roster(room)
    if closing:
        administration.close(room)
    else:
        administration.remove(room, person.id)
