"""CPU time of a camera and of those who watch it: forwarded to viewers of its codec, encoded again for others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiortc import RTCConfiguration, RTCPeerConnection

from server.benchmark.fanout_cost import FPS
from server.benchmark.processes import PeerProcess, answer, answer_viewer, peer_process
from server.media.aiortc_private import PacketOutlet, inlet_of
from server.media.audio_relay import AudioRelay
from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.encoder import Codec
from server.media.forwarding import Forwarding
from server.media.media_packet import MediaPacket
from server.receiver.camera_video import CameraVideo

_SETTLE = 6.0
"""Seconds after which connections stand, and the camera has brought a keyframe to whoever waited for one."""


@dataclass(frozen=True)
class CameraCost:
    """Shares of one core (1.0 = a whole core), sound included."""

    camera: float  # that nobody watches
    viewer: float  # each who watches it as it came
    other_codec: float  # the first who needs another codec


class _Camera:
    """What a publication is of a camera, without a model."""

    def __init__(self) -> None:
        self.broadcast = Broadcast(BroadcastSettings(fps=FPS), time.monotonic)
        self._forwarding = Forwarding(lambda: self.broadcast.tracks, time.monotonic)
        self.audio = AudioRelay(time.monotonic)
        self.video = CameraVideo(self.broadcast, self._forwarding, time.monotonic, FPS)
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._viewers: list[RTCPeerConnection] = []
        self.peer.on("track", self._track)

    def _track(self, track: object) -> None:
        source = inlet_of(self.peer, track, time.monotonic)  # type: ignore[arg-type]  # aiortc's events are not typed
        if source.kind == "audio":
            self.audio.attach(source)
        else:
            self.video.attach(source)

    async def add(self, process: PeerProcess, codec: Codec) -> None:
        """One more viewer in that process."""
        name = len(self._viewers)
        track = self.broadcast.add(name, codec, 0, lambda: None)

        def bind(video: object, audio: object) -> None:
            PacketOutlet(audio, time.monotonic)  # type: ignore[arg-type]
            outlet = PacketOutlet(video, time.monotonic, self._forwarding.request_keyframe)  # type: ignore[arg-type]
            track.accepts = partial(_carries, outlet)

        peer, _ = await answer_viewer(process, track, self.audio.add(), bind, codec)
        self._viewers.append(peer)

    async def close(self) -> None:
        """End everything."""
        await asyncio.gather(*(peer.close() for peer in (self.peer, *self._viewers)))
        await self.video.close()
        await self.broadcast.close()
        await self.audio.close()


def _carries(outlet: PacketOutlet, packet: MediaPacket) -> bool:
    return outlet.payload_type(packet.codec, packet.profile) is not None


async def measure(viewers: int, seconds: float, progress: Callable[[str], None]) -> CameraCost:
    """One camera: alone, with one viewer, with `viewers` of them, then with one of another codec beside."""
    shares = []
    async with peer_process("camera") as publisher, peer_process("viewer") as watching:
        camera = _Camera()
        try:
            progress("a camera that nobody watches")
            await answer(publisher, camera.peer)
            shares.append(await _share(seconds))
            progress("viewers of its codec")
            for count in (1, viewers - 1):
                for _ in range(count):
                    await camera.add(watching, "VP8")
                shares.append(await _share(seconds))
            progress("a viewer of another codec")
            await camera.add(watching, "H264")
            shares.append(await _share(seconds))
        finally:
            await camera.close()
    alone, _, many, other = shares
    return CameraCost(alone, (many - alone) / viewers, other - many)


async def _share(seconds: float) -> float:
    """Share of one core that this process takes, once it has settled."""
    await asyncio.sleep(_SETTLE)
    used, begin = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.monotonic() - begin)
