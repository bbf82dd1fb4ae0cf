"""A process that shows itself: `python -m server.benchmark.camera` publishes a moving picture as VP8, and a tone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender

from server.benchmark.fanout_cost import FPS, pictures
from server.benchmark.peer_lines import lines, offer
from server.benchmark.talker import ToneTrack
from server.media.encoder import CLOCK_RATE, TIME_BASE, VideoEncoder

SIDE = 640
"""Pixels: as many as a camera of 640x640."""

BIT_RATE = 800_000


class EncodedTrack(MediaStreamTrack):
    """Two seconds over and over that were encoded before: what is measured is the receiver.

    Each round begins with a keyframe, so that a viewer who joins waits for no more than that.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        encoder = VideoEncoder("VP8", BIT_RATE, FPS)
        shown = pictures(SIDE, 2)
        encoded = [encoder.encode(planes, n * (CLOCK_RATE // FPS), n == 0) for n, planes in enumerate(shown)]
        self._frames = [frame.data for frame in encoded if frame is not None]
        self._start: float | None = None
        self._count = 0

    async def recv(self) -> Any:
        """The next frame, at its time."""
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self._count / FPS - time.monotonic()))
        packet = av.Packet(self._frames[self._count % len(self._frames)])
        packet.pts, packet.time_base = self._count * (CLOCK_RATE // FPS), TIME_BASE
        self._count += 1
        return packet


async def camera() -> None:
    """One connection, until the parent closes the line."""
    track = EncodedTrack()
    reader = await lines()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    codecs = RTCRtpSender.getCapabilities("video").codecs
    vp8 = [codec for codec in codecs if codec.mimeType in ("video/VP8", "video/rtx")]
    peer.addTransceiver(track, direction="sendonly").setCodecPreferences(vp8)
    peer.addTransceiver(ToneTrack(), direction="sendonly")
    await offer(peer, reader)
    await reader.read()
    await peer.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(camera())
