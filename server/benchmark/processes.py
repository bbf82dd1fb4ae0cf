"""Starts the benchmark's peers and the server, and answers the peers' offers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from model.errors import VisavisError

_TIMEOUT = 120.0

READY_SECONDS = 120.0
"""Time for the server to load, and to compile where it never did."""


class BenchmarkError(VisavisError):
    """A peer of the benchmark did not do its part."""


class PeerProcess:
    """A peer process and its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, **fields: Any) -> None:
        """One line to the peer. Raises BenchmarkError when it is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            raise BenchmarkError("the benchmark's peer process is gone") from None

    async def hear(self, name: str) -> Any:
        """The value of the next line that has this field. Raises BenchmarkError when the peer is silent or gone."""
        return (await self.hear_all(name))[name]

    async def hear_all(self, name: str) -> dict[str, Any]:
        """All fields of the next line that has this one. Raises BenchmarkError when the peer is silent or gone."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_TIMEOUT):
                while line := await self._process.stdout.readline():
                    fields: dict[str, Any] = json.loads(line)
                    if name in fields:
                        return fields
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


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of this machine that nobody has now."""
    with socket.socket(type=kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def server_process(**environment: str) -> AsyncIterator[str]:
    """The server in a process of its own, ready; its address. `environment`: its settings beside the defaults."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VISAVIS_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "serve", "--port", str(port), "--log-level", "error"),
        env=inherited | environment,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(READY_SECONDS):
            while process.returncode is None:
                with suppress(aiohttp.ClientError):
                    async with http.get(f"{address}/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.2)
            else:
                raise BenchmarkError("the server ended before it was ready")
        yield address
    except TimeoutError:
        raise BenchmarkError("the server does not get ready") from None
    finally:
        await ended(process, 20.0)


async def ended(process: asyncio.subprocess.Process, patience: float) -> None:
    """Ask a process to end, and end it after `patience` seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
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
