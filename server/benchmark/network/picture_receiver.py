"""Whole pictures out of a viewer's packets, and when a keyframe is needed for more. Pure: told the time.

As libwebrtc's receiver: a keyframe is asked for while packets of a picture are missing, or while none can be begun
with; not where pictures are few or long on their way.
"""

from __future__ import annotations

from server.media.frame_assembly import FrameAssembly
from server.media.media_packet import MediaPacket
from server.media.rtp_numbers import newer
from server.media.rtp_payload import keyframe_start

MISSING_SECONDS = 0.25
"""For which something is missing before a keyframe is asked for, and before it is asked for again."""


class PictureReceiver:
    """Of one stream."""

    def __init__(self) -> None:
        self._assembly = FrameAssembly()
        self._next: int | None = None  # sequence number up to which nothing is missing
        self._ahead: set[int] = set()  # that came all the same, of those after it
        self._missing_since: float | None = None

    def add(self, packet: MediaPacket, now: float) -> list[int]:
        """RTP timestamps of the pictures that this packet completes. Raises ValueError."""
        frames = self._assembly.add(packet, keyframe_start(packet.codec, packet.payload) is not None)
        self._came(packet.sequence)
        if not self._assembly.needs_keyframe and not self._ahead:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        return [frame.timestamp for frame in frames]

    def needs_keyframe(self, now: float) -> bool:
        """Whether one is to be asked for now; all that is not whole is left out then."""
        if self._missing_since is None or now - self._missing_since <= MISSING_SECONDS:
            return False
        self._assembly.restart()
        self._next = None
        self._ahead.clear()
        self._missing_since = now
        return True

    def _came(self, sequence: int) -> None:
        if self._next is None:
            self._next = sequence
        if newer(self._next, sequence):
            return
        self._ahead.add(sequence)
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next = (self._next + 1) % 65536
