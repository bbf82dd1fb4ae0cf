"""A viewer in the call: a browser's receiver as far as it matters here. Keeps when everything came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from server.benchmark.network.picture_receiver import PictureReceiver
from server.media.aiortc_private import PacketInlet, close_peer, inlet_of
from server.media.media_packet import MediaPacket

ASK_FRAMES_EVERY = 1.0


class Viewer:
    """Joins, watches the first who publishes motion, and goes on when that one publishes anew."""

    def __init__(self, http: aiohttp.ClientSession, address: str, room: str, clock: Callable[[], float]) -> None:
        self._http = http
        self._address = address
        self._room = room
        self._clock = clock
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._peer: RTCPeerConnection | None = None
        self._watched: tuple[str, int] | None = None
        self.pictures: list[tuple[float, int]] = []
        """(when it was whole, RTP timestamp) of every picture."""
        self.captured: dict[int, float] = {}
        """Capture time of pictures by RTP timestamp, seconds; absent where a picture shows nothing new."""
        self.sound: list[tuple[float, bytes]] = []
        """(when it came, Opus packet) of every packet."""
        self.keyframes_asked = 0
        self.watching = asyncio.Event()
        """Set once the capture time of a picture is known."""

    async def run(self) -> None:
        """Watch until cancelled, or refused."""
        token = (await self._get("/api/config", room=self._room))["token"]
        self._socket = await self._http.ws_connect(f"{self._address}/ws", params={"token": token})
        self._spawn(self._ask_frames())
        joining = asyncio.create_task(self._request("join", room=self._room, name="Viewer", client="page"))
        async for message in self._socket:
            fields = message.json()
            if fields["type"] in ("ok", "error"):
                answer = self._answers.pop(fields["id"])
                if not answer.done():
                    answer.set_result(fields)
                await asyncio.sleep(0)  # for who waits for it
                if joining.done() and joining.result()["type"] == "error":
                    return  # it takes no calls yet
            elif fields["type"] == "roster":
                for entry in fields["participants"]:
                    key = (entry["id"], entry["publication"])
                    if entry["kind"] == "motion" and key != self._watched:
                        self._watched = key
                        self._spawn(self._watch(entry["id"]))
        await joining

    async def close(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._peer is not None:
            await close_peer(self._peer)
        if self._socket is not None:
            await self._socket.close()

    async def _get(self, path: str, **query: str) -> Any:
        async with self._http.get(self._address + path, params=query) as answer:
            return await answer.json()

    async def _request(self, kind: str, **fields: Any) -> dict[str, Any]:
        assert self._socket is not None
        number = len(self.pictures) * 1000 + len(self._answers) + 1
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"type": kind, "id": number, **fields})
        result: dict[str, Any] = await answer
        return result

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, participant: str) -> None:
        before, peer = self._peer, RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer = peer
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        peer.on("track", self._track)
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self._request("subscribe", participant=participant, sdp=peer.localDescription.sdp)
        if "sdp" in answer:
            await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        if before is not None:
            await close_peer(before)

    def _track(self, track: MediaStreamTrack) -> None:
        assert self._peer is not None
        inlet = inlet_of(self._peer, track, self._clock)
        if track.kind == "audio":
            inlet.on_packet = lambda packet: self.sound.append((self._clock(), packet.payload))
        else:
            self._see(inlet)

    def _see(self, inlet: PacketInlet) -> None:
        receiver = PictureReceiver()

        def take(packet: MediaPacket) -> None:
            now = self._clock()
            self.pictures += [(now, timestamp) for timestamp in receiver.add(packet, now)]
            if receiver.needs_keyframe(now):
                self.keyframes_asked += 1
                inlet.request_keyframe()

        inlet.on_packet = take

    async def _ask_frames(self) -> None:
        while True:
            await asyncio.sleep(ASK_FRAMES_EVERY)
            answer = await self._request("frames")
            for frames in answer.get("subscriptions", {}).values():
                for timestamp, captured in frames:
                    self.captured[int(timestamp)] = captured / 1000
            if self.captured:
                self.watching.set()
