"""Viewers of a room, in one process: `python -m server.benchmark.audience ADDRESS ROOM VIEWERS`. For `make soak`.

Each joins by its own WebSocket and watches everybody who publishes, as a page does. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from server.benchmark.peer_lines import lines, tell


class Viewer:
    """One participant who only watches."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._peers: dict[tuple[str, int], RTCPeerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.packets = 0

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        number = len(self._answers) + 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_json({"type": kind, "id": number, **fields})
        return await answer

    async def run(self, room: str, name: str) -> None:
        """Join, and watch until the socket closes."""
        joining = asyncio.create_task(self.request("join", room=room, name=name))
        async for message in self._socket:
            fields = message.json()
            if fields["type"] in ("ok", "error"):
                self._answers[fields["id"]].set_result(fields)
            elif fields["type"] == "roster":
                for entry in fields["participants"]:
                    key = (entry["id"], entry["publication"])
                    if entry["kind"] != "none" and key not in self._peers:
                        self._peers[key] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                        self._spawn(self._watch(entry["id"], self._peers[key]))
        await joining

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, participant: str, peer: RTCPeerConnection) -> None:
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        peer.on("track", lambda track: self._spawn(self._count(track)))
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.request("subscribe", participant=participant, sdp=peer.localDescription.sdp)
        if "sdp" in answer:
            await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        else:
            tell(refused=answer.get("code"))

    async def _count(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(Exception):  # the track ends with the call
            while True:
                await track.recv()
                self.packets += track.kind == "video"

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *(peer.close() for peer in self._peers.values()), return_exceptions=True)
        await self._socket.close()


async def audience(address: str, room: str, count: int) -> None:
    """Run so many viewers; a line {"pictures"} every second."""
    async with aiohttp.ClientSession() as http:
        viewers, running = [], []
        for number in range(count):
            async with http.get(f"{address}/api/config", params={"room": room}) as answer:
                token = (await answer.json())["token"]
            viewer = Viewer(await http.ws_connect(f"{address}/ws", params={"token": token}))
            viewers.append(viewer)
            running.append(asyncio.create_task(viewer.run(room, f"Viewer {number + 1}")))
        end = asyncio.create_task((await lines()).read())
        while not end.done():
            await asyncio.sleep(1.0)
            tell(pictures=sum(viewer.packets for viewer in viewers))
        await asyncio.gather(*(viewer.close() for viewer in viewers))
        await asyncio.gather(*running, return_exceptions=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(audience(sys.argv[1], sys.argv[2], int(sys.argv[3])))
