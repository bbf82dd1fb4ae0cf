"""Opus packets onto one connection's RTP track.

The track yields packets, not frames: aiortc would encode frames at 96 kbit/s stereo, thirty times the motion's rate.
"""

from __future__ import annotations

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.stream import Stream

from server.rate_window import RateWindow
from server.sender.connection.motion_publisher import LEAST_WINDOW, RATE_WINDOW
from server.sender.media.reader import Clock
from server.sender.media.sound import PACKET_SAMPLES, TIME_BASE, SoundQueue


class OpusTrack(MediaStreamTrack):
    """The sound of one connection. RTP timestamps follow the packet index, so gaps stay gaps."""

    kind = "audio"

    def __init__(self, queue: SoundQueue, clock: Clock) -> None:
        super().__init__()
        self._queue = queue
        self._clock = clock
        self.payload = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """Bytes."""
        self._first: int | None = None
        queue.clear()

    async def recv(self) -> av.Packet[Stream]:
        """The next packet. Raises MediaStreamError once stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        sound = await self._queue.take()
        self._first = sound.index if self._first is None else self._first
        self.payload.add(len(sound.data), self._clock())
        packet = av.Packet(sound.data)
        packet.pts = (sound.index - self._first) * PACKET_SAMPLES
        packet.time_base = TIME_BASE
        return packet
