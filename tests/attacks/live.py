"""A server with real publications on the loopback interface, and publishers that misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpSender

from server.receiver.publication import Publication
from server.receiver.source_cache import SourceCache
from tests.server.fakes import PaintingModel, render_engine
from tests.server.signalling import Call, running_call


@asynccontextmanager
async def live_call(**settings: Any) -> AsyncIterator[tuple[Call, dict[str, Publication]]]:
    """A call, and its publications by participant."""
    engine = render_engine(PaintingModel())
    await engine.start()
    cache = SourceCache(engine)
    made: dict[str, Publication] = {}

    def make(participant: str) -> Publication:
        made[participant] = Publication(participant, engine, cache, None, time.monotonic)
        return made[participant]

    try:
        async with running_call(publications=make, **settings) as call:
            yield call, made
    finally:
        await cache.close()
        await engine.close()


class EncodedVideo(MediaStreamTrack):
    """The same encoded frames over and over, as fast as the test says."""

    kind = "video"

    def __init__(self, frames: Sequence[bytes], spacing: float = 0.02) -> None:
        super().__init__()
        self._frames = frames
        self._spacing = spacing
        self.sent = 0

    async def recv(self) -> Any:
        await asyncio.sleep(self._spacing)
        packet = av.Packet(self._frames[self.sent % len(self._frames)])
        packet.pts, packet.time_base = 3000 * self.sent, Fraction(1, 90_000)
        self.sent += 1
        return packet


def of_codec(*names: str) -> list[Any]:
    """Capabilities of these video codecs, for `setCodecPreferences`."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return [codec for codec in codecs if codec.name in names]
