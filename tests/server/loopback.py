"""Two aiortc peers on the loopback interface, for tests and with a leak check."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCConfiguration, RTCPeerConnection


@asynccontextmanager
async def peers() -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """(offerer, answerer), not connected yet; closed at the end."""
    # An explicit empty list: otherwise aiortc asks a public STUN server.
    pair = RTCPeerConnection(RTCConfiguration(iceServers=[])), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        yield pair
    finally:
        await asyncio.gather(*(peer.close() for peer in pair))


async def connect(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """Exchange offer and answer."""
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def nothing_leaks(seconds: float = 30.0) -> AsyncIterator[None]:
    """Time limit, and the same tasks, threads of ours and descriptors afterwards as before."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    async with asyncio.timeout(seconds):
        yield
        for _ in range(200):
            left = asyncio.all_tasks() - tasks
            ours = [
                t.name for t in threading.enumerate() if t.name.startswith(("video-", "audio-", "render-", "source-"))
            ]
            if not left and not ours and open_descriptors() <= descriptors:
                return
            await asyncio.sleep(0.01)
    raise AssertionError(f"left behind: {left} {ours} {open_descriptors() - descriptors} descriptors")
