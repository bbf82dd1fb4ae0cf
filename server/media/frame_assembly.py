"""From packets to whole frames, in order, for a decoder. Pure and bounded; what is incomplete is left out.

Frames begin at a keyframe. A packet that is missing is waited for as long as `limit` packets, then everything up to
the next keyframe is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload

from server.media.media_packet import MediaPacket
from server.media.rtp_numbers import newer

_DEPAYLOAD = {"VP8": vp8_depayload, "H264": h264_depayload}


@dataclass(frozen=True, slots=True)
class AssembledFrame:
    """A whole frame as its encoder gave it out."""

    data: bytes  # of H.264 with start codes
    timestamp: int  # uint32, of its packets


class FrameAssembly:
    """Assembles the frames of one stream."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._packets: dict[int, MediaPacket] = {}  # by sequence number
        self._next: int | None = None  # sequence number with which the next frame begins

    @property
    def needs_keyframe(self) -> bool:
        """Whether nothing can be made of what comes before a keyframe does."""
        return self._next is None

    def add(self, packet: MediaPacket, keyframe: bool) -> list[AssembledFrame]:
        """The frames that this packet completes; `keyframe`: one begins with it. Raises ValueError."""
        if self._next is None:
            if not keyframe:
                return []
            self._next = packet.sequence
        elif newer(self._next, packet.sequence):
            return []
        if len(self._packets) >= self._limit:
            self.restart()
            return self.add(packet, keyframe) if keyframe else []
        self._packets[packet.sequence] = packet
        frames = []
        while (frame := self._complete()) is not None:
            frames.append(frame)
        return frames

    def restart(self) -> None:
        """Leave out everything up to the next keyframe."""
        self._packets.clear()
        self._next = None

    def _complete(self) -> AssembledFrame | None:
        """The next frame, if all of it is here: packets of one timestamp up to the marker (RFC 7741 section 4.1)."""
        assert self._next is not None
        parts, sequence, first = [], self._next, self._packets.get(self._next)
        while (packet := self._packets.get(sequence)) is not None:
            assert first is not None
            if packet.timestamp != first.timestamp:
                break  # a sender that sets no marker
            parts.append(packet)
            sequence = (sequence + 1) % 65536
            if packet.marker:
                break
        else:
            return None
        for part in parts:
            del self._packets[part.sequence]
        self._next = sequence
        data = b"".join(_DEPAYLOAD[part.codec](part.payload) for part in parts)
        return AssembledFrame(data, parts[0].timestamp)
