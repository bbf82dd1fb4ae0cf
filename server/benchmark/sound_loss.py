"""How much of the sound reaches a viewer when the way to the receiver loses packets: real connections, seeded."""

from __future__ import annotations

import asyncio
import random
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection

from server.benchmark.speech import RATE, speak
from server.media.aiortc_private import PacketOutlet, inlet_of
from server.media.audio_relay import AudioRelay
from server.media.media_packet import MediaPacket

LATE = 0.2
"""Seconds after the fastest packet up to which a viewer's receiver still plays one."""

_SAMPLES = 960
_WARM_UP = 10
"""Packets at the beginning that are not counted: connections are not all there."""


class _Voice(MediaStreamTrack):
    """A synthetic voice as 24 kbit/s Opus with in-band FEC, packets of 20 ms in real time."""

    kind = "audio"

    def __init__(self, seconds: float) -> None:
        super().__init__()
        opening = np.abs(np.sin(np.arange(int(25 * seconds) + 50) * 0.9))
        wave = (speak(opening, 25.0) * 32767).astype(np.int16)
        encoder: Any = av.CodecContext.create("libopus", "w")
        encoder.bit_rate, encoder.format, encoder.layout, encoder.sample_rate = 24_000, "s16", "mono", RATE
        encoder.options = {"application": "voip", "frame_duration": "20", "fec": "1", "packet_loss": "15"}
        self.packets: list[bytes] = []
        for start in range(0, len(wave) - _SAMPLES, _SAMPLES):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + _SAMPLES], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            self.packets += [bytes(packet) for packet in encoder.encode(frame)]
        self.sent = 0
        self._start: float | None = None

    async def recv(self) -> Any:
        """The next packet, at its time."""
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self.sent * _SAMPLES / RATE - time.monotonic()))
        packet = av.Packet(self.packets[self.sent % len(self.packets)])
        packet.pts, packet.time_base = self.sent * _SAMPLES, Fraction(1, RATE)
        self.sent += 1
        return packet


def has_fec(payload: bytes) -> bool:
    """Whether a mono packet of 20 ms holds the one before it again: the LBRR flag (RFC 6716, section 4.2.4)."""
    return len(payload) > 1 and payload[0] >> 7 == 0 and bool(payload[1] & 0x40)


async def measure(seconds: float, loss: float) -> dict[str, Any]:
    """Send a voice for `seconds`, lose the share `loss` of its packets before the receiver; JSON-ready figures."""
    peers = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(4)]
    sending, receiving, serving, watching = peers
    relay = AudioRelay(time.monotonic)
    voice = _Voice(seconds)
    chance = random.Random(1)
    arrived: list[tuple[float, MediaPacket]] = []

    def published(track: MediaStreamTrack) -> None:
        source = inlet_of(receiving, track, time.monotonic)
        relay.attach(source)
        forward = source.on_packet
        assert forward is not None
        source.on_packet = lambda packet: forward(packet) if chance.random() >= loss else None

    def watched(track: MediaStreamTrack) -> None:
        inlet_of(watching, track, time.monotonic).on_packet = lambda packet: arrived.append((time.monotonic(), packet))

    receiving.on("track", published)
    watching.on("track", watched)
    try:
        sender = serving.addTransceiver(relay.add(), direction="sendonly").sender
        PacketOutlet(sender, time.monotonic)
        watching.addTransceiver("audio", direction="recvonly")
        await _connect(watching, serving)
        sending.addTransceiver(voice, direction="sendonly")
        await _connect(sending, receiving)
        await asyncio.sleep(seconds)
    finally:
        await asyncio.gather(*(peer.close() for peer in peers))
        await relay.close()
    return figures(arrived)


def figures(arrived: list[tuple[float, MediaPacket]]) -> dict[str, Any]:
    """Shares of the packets sent that a viewer plays: as they are, and with those that the next one holds again."""
    if len(arrived) <= _WARM_UP:
        return {"sound_arrived_percent": 0.0, "sound_with_fec_percent": 0.0}
    origin = arrived[0][1].timestamp
    late = [(at - (packet.timestamp - origin) / RATE, packet) for at, packet in arrived[_WARM_UP:]]
    fastest = min(delay for delay, _ in late)
    played = {(p.timestamp - origin) // _SAMPLES: p for delay, p in late if delay <= fastest + LATE}
    first, last = min(played), max(played)
    again = {number - 1 for number, p in played.items() if has_fec(p.payload)} - set(played)
    expected = last - first + 1
    return {
        "sound_arrived_percent": round(100 * len(played) / expected, 1),
        "sound_with_fec_percent": round(100 * (len(played) + len({n for n in again if n >= first})) / expected, 1),
    }


async def _connect(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)
