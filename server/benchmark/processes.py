"""Starts the benchmark's peers and answers their offers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from model.errors import VisavisError

_TIMEOUT = 120.0


class BenchmarkError(VisavisError):
    """A peer of the benchmark did not do its part."""


class PeerProcess:
    """A peer process and its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, **fields: Any) -> None:
        """One line to the peer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, name: str) -> Any:
        """The value of the next line that has this field. Raises BenchmarkError when the peer is silent or gone."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_TIMEOUT):
                while line := await self._process.stdout.readline():
                    fields = json.loads(line)
                    if name in fields:
                        return fields[name]
        except TimeoutError:
            pass
        raise BenchmarkError(f"the benchmark's peer process said nothing of {name!r}")


@asynccontextmanager
async def peer_process(role: str, *arguments: str) -> AsyncIterator[PeerProcess]:
    """A running `viewer` or `talker`, given its arguments; it ends with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"server.benchmark.{role}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield PeerProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def answer_viewer(
    process: PeerProcess,
    video: MediaStreamTrack,
    audio: MediaStreamTrack | None = None,
    bind: Callable[[Any, Any], None] = lambda *_: None,
    codec: str = "VP8",
) -> Any:
    """Connect one more viewer; returns (connection, video sender).

    `bind(video sender, audio sender)` is called before the connection is established.
    """
    await process.say(go=True)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = peer.addTransceiver(video, direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([c for c in codecs if c.mimeType == f"video/{codec}"])
    bind(transceiver.sender, None if audio is None else peer.addTransceiver(audio, direction="sendonly").sender)
    await answer(process, peer)
    return peer, transceiver.sender


async def answer(process: PeerProcess, peer: RTCPeerConnection) -> None:
    """Answer the peer's next offer."""
    await peer.setRemoteDescription(RTCSessionDescription(await process.hear("offer"), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    await process.say(answer=peer.localDescription.sdp)
