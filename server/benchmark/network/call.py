"""One call in virtual time: the daemon, the server and a viewer, each on a host of its own with a line."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.errors import VisavisError
from model.talking_head import Profile, TalkingHead
from server.app import build_app
from server.awake_clock import AwakeClock
from server.benchmark.network.datagrams import HOST, SERVER, Line, ServerSocket
from server.benchmark.network.figures import Spoken
from server.benchmark.network.link import LinkSettings
from server.benchmark.network.stand_in import StandInEngine
from server.benchmark.network.tcp_line import TcpLine
from server.benchmark.network.viewer import Viewer
from server.benchmark.network.virtual_loop import VirtualLoop
from server.benchmark.speech import RATE, speak
from server.ice.aioice_private import IcePort
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.source_cache import SourceCache
from server.receiver.source_image import Crop
from server.sender.build import DEFAULT_FPS
from server.sender.connection.access import Access
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.inputs import PORTRAIT
from server.sender.media.recording import Recording, RecordingFeed, read_recording
from server.sender.media.sound import PIECE_SAMPLES, PIECE_SECONDS, OpusWriter, SoundQueue, VoicePackets
from server.settings import load_settings

SENDER, VIEWER = "10.0.0.2", "10.0.0.3"
ROOM = "network"
KBPS = 25.0
UDP_PORT = 8443

TALK, PAUSE = 6.0, 1.0
"""Seconds that the voice speaks, and that it is silent, in turn."""

_LAP = 28.0
"""Seconds of voice that are synthesised once."""


@dataclass
class Materials:
    """What does not change from call to call; costs some seconds to make."""

    profile: Profile
    statistics: MotionStatistics
    recording: Recording
    voice: NDArray[np.int16]  # (N,) 48 kHz

    @staticmethod
    def load() -> Materials:
        """Of the embedded model and talker."""
        model = TalkingHead.load(engine="torch", threads=1)
        times = np.arange(0.0, _LAP, 0.04)
        opening = np.abs(np.sin(times * 22.5)) * (times % (TALK + PAUSE) < TALK)
        voice = np.round(speak(opening, 25.0) * 32767).astype(np.int16)
        recording = read_recording(PORTRAIT, model.statistics, model.weights_hash)
        return Materials(model.profile, model.statistics, recording, voice)


class VirtualFeed:
    """The talker's motion with a synthesised voice, encoded as a microphone's. A `Feed`."""

    def __init__(self, materials: Materials, listener: FeedListener, clock: Callable[[], float], log: CallLog) -> None:
        self._motion = RecordingFeed(materials.recording, listener, fps=DEFAULT_FPS, clock=clock, sound=False)
        self.sound: SoundQueue | None = SoundQueue(asyncio.get_running_loop())
        self._voice = materials.voice
        self._clock = clock
        self._log = log
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        return self._motion.dropped

    def start(self) -> None:
        self._motion.start()
        self._task = asyncio.create_task(self._speak(), name="visavis-voice")

    def source_taken(self, index: int) -> None:
        self._motion.source_taken(index)

    def source_refused(self, index: int, error: VisavisError) -> None:
        self._motion.source_refused(index, error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._motion.close()

    async def _speak(self) -> None:
        assert self.sound is not None
        voice = VoicePackets(OpusWriter())
        begin, count = self._clock(), 0
        pieces = self._voice[: self._voice.size // PIECE_SAMPLES * PIECE_SAMPLES].reshape(-1, PIECE_SAMPLES)
        while True:
            count += 1
            await asyncio.sleep(max(0.0, begin + count * PIECE_SECONDS - self._clock()))
            for packet in voice.add(pieces[(count - 1) % len(pieces)], self.sound.order):
                if not packet.silent:
                    captured = begin + packet.start / RATE
                    self._log.spoken.append(Spoken(captured, packet.samples // PIECE_SAMPLES, packet.data))
                self.sound.put(packet)


@dataclass
class CallLog:
    """What was sent."""

    spoken: list[Spoken] = field(default_factory=list)


@dataclass
class Call:
    """A call that stands."""

    daemon: Daemon
    viewer: Viewer
    sender_line: Line
    viewer_line: Line
    log: CallLog


class _Whole:
    """A picture is the head's crop already."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.side = float(picture.shape[0])

    def cut(self, frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """As it is."""
        return frame


@asynccontextmanager
async def standing_call(
    materials: Materials, seed: int, settings: LinkSettings, voice: bool = True
) -> AsyncIterator[Call]:
    """A call over good lines, with a picture on the viewer's screen; the lines may be changed from then on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    random.seed(seed)
    logging.getLogger("aioice").setLevel(logging.ERROR)
    lines = {host: Line(host, settings, random.Random(seed + n)) for n, host in enumerate((SENDER, VIEWER))}
    loop.datagrams.lines = lines
    async with _server(materials, loop) as port, aiohttp.ClientSession() as http:
        tcp = {host: TcpLine(line, port) for host, line in lines.items()}
        addresses = {host: await one.open() for host, one in tcp.items()}
        log = CallLog()

        def make_feed(listener: FeedListener) -> Feed:
            if not voice:
                return RecordingFeed(materials.recording, listener, fps=DEFAULT_FPS, clock=loop.time, sound=False)
            return VirtualFeed(materials, listener, loop.time, log)

        daemon = Daemon(
            Destination(addresses[SENDER], ROOM, "Talker"),
            Access(addresses[SENDER], ROOM, None, load_settings()),
            make_feed,
            lambda: MotionEncoder(materials.statistics, Rate.for_kbps(KBPS)),
            clock=loop.time,
            chance=random.Random(seed).random,
        )
        viewer = Viewer(http, addresses[VIEWER], ROOM, loop.time)
        sending = _on(SENDER, daemon.run)
        watching = _on(VIEWER, viewer.run)
        try:
            async with asyncio.timeout(20):
                while not viewer.captured:
                    for task in (sending, watching):
                        if task.done():
                            task.result()
                    await asyncio.sleep(0.1)
            yield Call(daemon, viewer, lines[SENDER], lines[VIEWER], log)
        finally:
            for line in lines.values():
                line.configure(LinkSettings())
                line.cut(whole=True)
            daemon.stop()
            await asyncio.gather(sending, return_exceptions=True)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await viewer.close()
            for one in tcp.values():
                await one.close()


def _on(host: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task on another host."""

    async def there() -> None:
        HOST.set(host)
        await run()

    return asyncio.create_task(there(), name=f"visavis-host-{host}")


@asynccontextmanager
async def _server(materials: Materials, loop: VirtualLoop) -> AsyncIterator[int]:
    """The server on its host; the port of its TCP."""
    HOST.set(SERVER)
    engine = StandInEngine(materials.profile, materials.statistics)
    cache = SourceCache(engine.as_engine(), find_crop=lambda picture: cast(Crop, _Whole(picture)))
    awake, settings = AwakeClock(loop.time), PublicationSettings(fps=25.0)
    ice = IcePort(UDP_PORT, sockets=[ServerSocket(loop.datagrams, UDP_PORT)])
    app = build_app(
        load_settings(host="127.0.0.1", private_candidates=True),
        lambda participant: Publication(participant, engine.as_engine(), cache, settings, loop.time, awake=awake),
        clock=loop.time,
        capacity=engine.capacity,
        share_port=ice.share,
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
        await cache.close()
        ice.close()
