"""Watches one participant as long as it is asked to: finds it in the roster, subscribes, comes back after a loss."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from server.sender.connection.access import Access
from server.sender.connection.loss import Membership, why_closed, why_lost
from server.sender.connection.reconnect import Reconnect
from server.sender.connection.signalling import ConnectionLostError, RefusedError, Signalling
from server.viewer.delivery import Delivery

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""Before a subscription that failed is asked for again."""


class Viewer:
    """`run` returns when `stop` was called or nobody takes the pictures; it raises what another attempt cannot cure."""

    def __init__(
        self,
        server: str,
        room: str,
        participant: str,
        name: str,
        access: Access,
        delivery: Delivery,
        view: dict[str, float],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`participant`: id or name; `name`: of this viewer in the roster; `view`: yaw, pitch, roll in degrees."""
        self._server, self._participant = server, participant
        self._membership = Membership(room, name)
        self._access = access
        self._delivery = delivery
        self._view = view
        self._clock = clock
        self._sleep = sleep
        self._reconnect = Reconnect(random.random)
        self._stop = asyncio.Event()
        self._refused: RefusedError | None = None  # by what the server said as it closed the connection
        self._roster: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self._peer: RTCPeerConnection | None = None
        self._watched: tuple[str, int] | None = None  # participant and publication
        self._readers: set[asyncio.Task[None]] = set()
        self._missed = False

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    async def run(self) -> None:
        """Watch. Raises RefusedError, UnauthorizedError, InputError."""
        watching = asyncio.create_task(self._watch())
        stopped = asyncio.create_task(self._wait_for_stop())
        tasks = [watching, stopped]
        try:
            await asyncio.wait([*tasks, self._delivery.over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._delivery.over.done():
            self._delivery.over.result()
        if not watching.cancelled():
            watching.result()

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    async def _watch(self) -> None:
        """One stay in the room after the other."""
        async with aiohttp.ClientSession() as http:
            while True:
                self._reconnect.start()
                try:
                    await self._attend(http)
                except (RefusedError, ConnectionLostError) as error:
                    # What the server said as it closed the connection may end a request first.
                    reason, live = self._refused or error, self._reconnect.state == "live"
                    why = why_lost(reason, self._membership, self._access, live=live)
                    logger.warning("not connected: %s", reason)
                await self._sleep(self._reconnect.lost(self._clock(), why))

    async def _attend(self, http: aiohttp.ClientSession) -> None:
        """One stay in the room."""
        membership, self._refused = self._membership, None
        token = await self._access.token(http)
        signalling = Signalling(http, membership.node or self._server, token, self._reconnect.patience)
        signalling.on_message = self._on_message
        try:
            await signalling.connect()
            signalling.closed.add_done_callback(lambda _: self._changed.set())
            given = {} if membership.resume is None else {"resume": membership.resume}
            joined = await signalling.request(
                "join", room=membership.room, name=membership.name, client="daemon", **given
            )
            self._reconnect.connected(self._clock())
            membership.participant, membership.resume = joined["participant"], joined.get("resume")
            self._roster, self._watched = joined["roster"], None
            while not signalling.closed.done():
                self._changed.clear()
                await self._follow(signalling, joined["ice_servers"])
                await self._changed.wait()
            raise ConnectionLostError(signalling.closed.result())
        finally:
            await self._leave()
            await signalling.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        if message.get("type") == "roster":
            self._roster = message["participants"]
            self._changed.set()
        elif message.get("type") == "resume":
            self._membership.resume = message["resume"]
        elif message.get("type") == "closed":
            self._refused = why_closed(message)
        elif message.get("type") == "ended":
            self._watched = None
            self._changed.set()

    async def _follow(self, signalling: Signalling, ice_servers: list[dict[str, Any]]) -> None:
        """Watch the participant's publication of now, where there is one that is not watched yet."""
        entry = next((p for p in self._roster if self._participant in (p["id"], p["name"])), None)
        if entry is None or entry["kind"] == "none":
            if not self._missed:
                logger.info("waiting for %s", self._participant)
            self._missed = True
            return
        self._missed = False
        wanted = (entry["id"], entry["publication"])
        if wanted == self._watched or entry["state"] == "lost":
            return
        self._watched = wanted
        await self._leave()
        try:
            await self._subscribe(signalling, entry["id"], ice_servers)
        except RefusedError as error:
            if error.permanent:
                raise
            logger.info("%s cannot be watched yet: %s", self._participant, error)
            self._watched = None
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._changed.set)

    async def _subscribe(self, signalling: Signalling, participant: str, ice_servers: list[dict[str, Any]]) -> None:
        servers = [RTCIceServer(entry["urls"], entry.get("username"), entry.get("credential")) for entry in ice_servers]
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._delivery.restart()
        peer.on("track", self._read)
        peer.on("connectionstatechange", lambda: self._state_changed(peer))
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        answer = await signalling.request("subscribe", participant=participant, sdp=peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        if any(self._view.values()):
            await signalling.request("view", subscription=answer["subscription"], **self._view)
        logger.info("watching %s", self._participant)

    def _state_changed(self, peer: RTCPeerConnection) -> None:
        if peer is self._peer and peer.connectionState == "failed":
            self._watched = None
            self._changed.set()

    def _read(self, track: MediaStreamTrack) -> None:
        task = asyncio.create_task(self._frames(track))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _frames(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._delivery.picture(frame)
                elif isinstance(frame, AudioFrame):
                    self._delivery.sound(frame)
        except MediaStreamError:
            return

    async def _leave(self) -> None:
        peer, self._peer = self._peer, None
        for task in list(self._readers):
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if peer is not None:
            await peer.close()
