"""Attacks on a server, one kind a process: `python -m server.benchmark.flood KIND ADDRESS SECONDS`. For `make soak`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

ROOM = "flood"
CONNECTIONS = 400
"""Held at a time by the kinds that hold connections."""

AttackOnce = Callable[["Target"], Awaitable[None]]


class Target:
    """The server that is attacked, until the time is over."""

    def __init__(self, http: aiohttp.ClientSession, address: str, seconds: float) -> None:
        self.http = http
        self.address = address
        self.end = time.monotonic() + seconds
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "localhost", parts.port or 80

    @property
    def over(self) -> bool:
        """Whether the attack ends."""
        return time.monotonic() >= self.end

    async def token(self) -> str:
        """A token of a guest."""
        async with self.http.get(f"{self.address}/api/config", params={"room": ROOM}) as answer:
            return str((await answer.json())["token"])

    async def socket(self) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket of a guest that does not answer pings by itself."""
        return await self.http.ws_connect(f"{self.address}/ws", params={"token": await self.token()}, autoping=False)

    async def join(self) -> tuple[aiohttp.ClientWebSocketResponse, str, str]:
        """Socket, token and participant of a guest who has joined."""
        token = await self.token()
        socket = await self.http.ws_connect(f"{self.address}/ws", params={"token": token})
        answer = await ask(socket, "join", room=ROOM, name="Guest")
        return socket, token, str(answer["participant"])


async def ask(socket: aiohttp.ClientWebSocketResponse, kind: str, **fields: Any) -> dict[str, Any]:
    """One request and its answer."""
    await socket.send_json({"type": kind, "id": 1, **fields})
    while True:
        message: dict[str, Any] = await socket.receive_json(timeout=20)
        if message["type"] in ("ok", "error"):
            return message


async def _hold(target: Target, first: bytes) -> None:
    """Hold many connections on which `first` was sent; those that are closed are opened anew."""

    async def one() -> None:
        while not target.over:
            writer = None
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(target.host, target.port)
                writer.write(first)
                await asyncio.wait_for(reader.read(), max(0.1, target.end - time.monotonic()))
            if writer is not None:
                writer.close()
            await asyncio.sleep(0.5)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def idle_sockets(target: Target) -> None:
    """Connections that say nothing."""
    await _hold(target, b"")


async def half_headers(target: Target) -> None:
    """Requests whose headers never end."""
    await _hold(target, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")


async def half_bodies(target: Target) -> None:
    """Session descriptions of which half comes."""
    head = f"POST /whip/{ROOM} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {await target.token()}\r\n"
    await _hold(target, (head + "Content-Type: application/sdp\r\nContent-Length: 50000\r\n\r\nv=0").encode())


async def held_uploads(target: Target) -> None:
    """Source images that stop one byte before their end."""
    socket, token, participant = await target.join()
    size = 4 << 20
    head = (
        f"PUT /rooms/{ROOM}/participants/{participant}/source?index=0 HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: image/jpeg\r\nContent-Length: {size}\r\n\r\n"
    )
    listening = asyncio.create_task(socket.receive())
    await _hold(target, head.encode() + bytes(size - 1))
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await socket.close()


async def websocket_pings(target: Target) -> None:
    """Pings as fast as they go; a socket that is closed is opened anew."""
    while not target.over:
        with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
            socket = await target.socket()
            with contextlib.suppress(OSError, aiohttp.ClientError):
                while not target.over:
                    for _ in range(200):
                        await socket.ping()
                    await asyncio.sleep(0)
            await socket.close()


async def websocket_requests(target: Target) -> None:
    """Requests far above the rate, from ten sockets."""

    async def one() -> None:
        while not target.over:
            with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError, TypeError, ValueError):
                socket, _, _ = await target.join()
                with contextlib.suppress(OSError, aiohttp.ClientError):
                    while not target.over and not socket.closed:
                        await socket.send_json({"type": "statistics", "id": 1})
                        await asyncio.sleep(0.005)
                await socket.close()

    await asyncio.gather(*(one() for _ in range(10)))


async def joins_and_leaves(target: Target) -> None:
    """Guests who come and go."""
    while not target.over:
        with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError, TypeError, ValueError):
            socket, _, _ = await target.join()
            await ask(socket, "leave")
            await socket.close()


async def motion_frames(target: Target) -> None:
    """A publisher whose legal messages carry 32 frames each, a hundred a second."""
    from model.codec.encoder import MotionEncoder
    from model.codec.rate import Rate
    from model.talking_head import TalkingHead
    from server.sender.media.inputs import PORTRAIT
    from server.sender.media.recording import read_recording

    model = TalkingHead.load()
    recording = read_recording(PORTRAIT, model.statistics, model.weights_hash)
    encoder = MotionEncoder(model.statistics, Rate(frames_per_message=32, step_index=12))
    messages = []
    for number in range(32 * 40):
        vector = recording.vectors[number % len(recording.vectors)]
        message = encoder.encode(vector, 33 * number & 0xFFFFFFFF)
        if message is not None:
            messages.append(message)
    socket, _, _ = await target.join()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
    peer.createDataChannel("control")
    opened = asyncio.Event()
    channel.on("open", opened.set)
    await peer.setLocalDescription(await peer.createOffer())
    answer = await ask(socket, "publish", sdp=peer.localDescription.sdp)
    if "sdp" in answer:
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(opened.wait(), 15)
        count = 0
        while not target.over and channel.readyState == "open":
            if channel.bufferedAmount < 100_000:
                channel.send(messages[count % len(messages)])
                count += 1
            await asyncio.sleep(0.01)
    await socket.close()
    await peer.close()


async def broken_offers(target: Target) -> None:
    """Offers that cannot be answered, ten at a time."""

    async def one(number: int) -> None:
        headers = {"Authorization": f"Bearer {await target.token()}", "Content-Type": "application/sdp"}
        while not target.over:
            body = "v=0\r\n" + "a=candidate:1 1 udp 1 224.0.0.1 5000 typ host\r\n" * (number % 70)
            with contextlib.suppress(OSError, aiohttp.ClientError):
                async with target.http.post(f"{target.address}/whip/{ROOM}", data=body, headers=headers) as answer:
                    await answer.read()
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(number) for number in range(10)))


KINDS: dict[str, AttackOnce] = {
    attack.__name__: attack
    for attack in (
        *(idle_sockets, half_headers, half_bodies, held_uploads, websocket_pings, websocket_requests),
        *(joins_and_leaves, motion_frames, broken_offers),
    )
}
"""Every attack by its name."""


async def attack(kind: str, address: str, seconds: float) -> None:
    """Run one attack for so many seconds."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        await KINDS[kind](Target(http, address, seconds))


if __name__ == "__main__":
    os.nice(10)  # an attacker has a machine of its own
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3])))
