"""Forwards one publisher's sound: Opus packets as they came, delayed together, to all viewers.

Nothing is decoded or encoded: gaps stay gaps, so that the viewer's own receiver conceals what was lost, from the
in-band FEC of the packet after it where there is one (RFC 6716 section 2.1.7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from server.media.audio_delay import DelayLine
from server.media.delayed_release import DelayedRelease
from server.media.loudness import Loudness
from server.media.media_packet import MediaPacket, PacketSource
from server.media.queued_track import QueuedTrack


class AudioTrack(QueuedTrack[MediaPacket]):
    """One viewer's sound: Opus packets; a viewer that falls behind loses the oldest."""

    kind = "audio"

    def __init__(self, on_stop: Callable[[AudioTrack], None], capacity: int = 50) -> None:
        super().__init__(lambda: on_stop(self))
        self._packets: deque[MediaPacket] = deque(maxlen=capacity)
        self._reading = False
        self._source: PacketSource | None = None

    def offer(self, packet: MediaPacket, source: PacketSource) -> None:
        """One more packet to send; ignored until the track is read for the first time."""
        if not self._reading:
            return
        if source is not self._source:
            self._source = source
            packet = replace(packet, restart=True)
            self._packets.clear()
        elif len(self._packets) == self._packets.maxlen and self._packets[0].restart:
            # Its numbers would not fit those of the stream before.
            self._packets[1] = replace(self._packets[1], restart=True)
        self._packets.append(packet)
        self.wake()

    def restart(self) -> None:
        """What comes next does not go on where the packets before ended."""
        self._source = None

    def take(self) -> MediaPacket | None:
        """The oldest packet."""
        self._reading = True
        return self._packets.popleft() if self._packets else None


class AudioRelay:
    """Reads one source at a time and feeds any number of viewers. All methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._delayed: DelayedRelease[tuple[MediaPacket, PacketSource]] = DelayedRelease(
            DelayLine(), self._release, clock
        )
        self._viewers: set[AudioTrack] = set()
        self._source: PacketSource | None = None
        self._loudness = Loudness(clock)
        self._silent = False
        self.on_accepted: Callable[[MediaPacket], None] | None = None  # told each packet that others may hear
        self.released: Callable[[MediaPacket], None] | None = None  # called with each packet as it leaves

    @property
    def attached(self) -> bool:
        """Whether a source is or was there."""
        return self._source is not None

    @property
    def level(self) -> float:
        """Loudness lately, dBov: -127 is silence, 0 the loudest (RFC 6464)."""
        return self._loudness.level

    @property
    def delay(self) -> float:
        """Seconds that sound waits in the delay line now."""
        return self._delayed.line.delay

    def set_delay(self, seconds: float) -> None:
        """Seconds that sound should wait; approached smoothly."""
        self._delayed.line.set_delay(seconds)

    def silence(self, silent: bool) -> None:
        """Forward nothing while `silent`."""
        if self._silent and not silent:
            for viewer in self._viewers:
                viewer.restart()
        self._silent = silent

    def attach(self, source: PacketSource) -> None:
        """Read this source from now on, instead of an earlier one."""
        self._detach()
        self._source = source
        source.on_packet = lambda packet: self._packet(packet, source)

    def add(self) -> AudioTrack:
        """A viewer's track."""
        viewer = AudioTrack(self._viewers.discard)
        self._viewers.add(viewer)
        return viewer

    async def close(self) -> None:
        """End reading and all viewers' tracks; idempotent."""
        self._detach()
        self._delayed.cancel()
        for viewer in list(self._viewers):
            viewer.stop()
        await self._loudness.close()

    def _detach(self) -> None:
        if self._source is not None:
            self._source.on_packet = None

    def _packet(self, packet: MediaPacket, source: PacketSource) -> None:
        if packet.codec != "opus" or self._silent:
            return
        self._loudness.packet(packet)
        if self.on_accepted is not None:
            self.on_accepted(packet)
        self._delayed.push([(packet, source)], self._clock())

    def _release(self, item: tuple[MediaPacket, PacketSource], _: float) -> None:
        packet, source = item
        if self.released is not None:
            self.released(packet)
        for viewer in list(self._viewers):
            viewer.offer(packet, source)
