"""Opus packets onto one connection's RTP track, with motion behind them.

The track yields packets, not frames: aiortc would encode frames at 96 kbit/s stereo, thirty times the motion's rate.
"""

from __future__ import annotations

from typing import Protocol

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from server.media.media_packet import MediaPacket
from server.rate_window import RateWindow
from server.sender.connection.motion_publisher import LEAST_WINDOW, RATE_WINDOW
from server.sender.connection.rate_control import PACKET_HEADER_BYTES, RateControl
from server.sender.media.reader import Clock
from server.sender.media.sound import RATE, SoundPacket, SoundQueue

SILENCE_EVERY = 0.4
"""Seconds between packets of silence at most, as libopus has it with DTX: they keep the comfort noise fresh."""


class Trailers(Protocol):
    """What is used of MotionPublisher."""

    def take_trailer(self, now: float) -> bytes: ...
    def wants_packet(self, now: float) -> bool: ...
    def carried_alone(self, header_bytes: int, now: float) -> None: ...


class OpusTrack(MediaStreamTrack):
    """The sound of one connection. RTP timestamps follow the stream's place, so gaps stay gaps.

    Of silence only the first packet is sent, one now and then, and what motion wants to travel behind.
    """

    kind = "audio"

    def __init__(self, queue: SoundQueue, clock: Clock, trailers: Trailers, control: RateControl) -> None:
        super().__init__()
        self._queue = queue
        self._clock = clock
        self._trailers = trailers
        self._control = control
        self.payload = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """Bytes of Opus."""
        self.wire = RateWindow(RATE_WINDOW, LEAST_WINDOW)
        """With the headers of each packet; those of packets that left for motion's sake are motion's."""
        self.packet_seconds: float | None = None
        """Length of the last packet with sound in it."""
        self._first: int | None = None
        self._sequence: int | None = None
        self._silent = False  # what was sent last
        self._sent = float("-inf")  # when, seconds
        queue.clear()

    async def recv(self) -> MediaPacket:  # type: ignore[override]  # for PacketOutlet
        """The next packet. Raises MediaStreamError once stopped."""
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            sound = await self._queue.take()
            now = self._clock()
            self._first = sound.start if self._first is None else self._first
            if not sound.silent:
                self.packet_seconds = sound.samples / RATE
                return self._packet(sound, now)
            wanted = self._trailers.wants_packet(now)
            if not self._silent or now - self._sent >= SILENCE_EVERY:
                return self._packet(sound, now)
            if wanted:
                self._trailers.carried_alone(PACKET_HEADER_BYTES + len(sound.data), now)
                return self._packet(sound, now, counted=False)

    def _packet(self, sound: SoundPacket, now: float, counted: bool = True) -> MediaPacket:
        assert self._first is not None
        trailer = self._trailers.take_trailer(now)
        self._control.sent(len(sound.data) + len(trailer) + PACKET_HEADER_BYTES, now)
        if counted:
            self.payload.add(len(sound.data), now)
            self.wire.add(len(sound.data) + PACKET_HEADER_BYTES, now)
        # The marker begins a talkspurt (RFC 3551 section 4.1).
        marker = self._silent and not sound.silent
        self._silent, self._sent = sound.silent, now
        restart = self._sequence is None  # on the wire, numbers begin at random
        self._sequence = 0 if self._sequence is None else (self._sequence + 1) % (1 << 16)
        timestamp = (sound.start - self._first) % (1 << 32)
        return MediaPacket(sound.data, self._sequence, timestamp, marker, trailer=trailer, restart=restart)
