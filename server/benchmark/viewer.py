"""A process that watches: `python -m server.benchmark.viewer`. Light, because several may start on a busy machine."""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.contrib.media import MediaBlackhole

from server.benchmark.peer_lines import lines, offer


async def viewer() -> None:
    """Opens one receiving connection for each line {"go": true}."""
    reader = await lines()
    peers: list[RTCPeerConnection] = []
    sinks: list[MediaBlackhole] = []
    while line := await reader.readline():
        if not json.loads(line).get("go"):
            continue
        peer, sink = RTCPeerConnection(RTCConfiguration(iceServers=[])), MediaBlackhole()
        peer.addTransceiver("video", direction="recvonly")
        peer.addTransceiver("audio", direction="recvonly")
        peer.on("track", sink.addTrack)
        await offer(peer, reader)
        await sink.start()
        peers.append(peer)
        sinks.append(sink)
    await asyncio.gather(*(sink.stop() for sink in sinks))
    await asyncio.gather(*(peer.close() for peer in peers))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(viewer())
