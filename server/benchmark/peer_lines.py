"""JSON lines between the benchmark and its peers, and the offer that goes over them: {"offer"} out, {"answer"} in."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription


def tell(**fields: Any) -> None:
    """One line to the parent."""
    print(json.dumps(fields), flush=True)


async def lines() -> asyncio.StreamReader:
    """The parent's lines."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def offer(peer: RTCPeerConnection, reader: asyncio.StreamReader) -> None:
    """Connect with the parent."""
    await peer.setLocalDescription(await peer.createOffer())
    tell(offer=peer.localDescription.sdp)
    answer = json.loads(await reader.readline())["answer"]
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
