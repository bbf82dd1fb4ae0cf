"""One RTP packet of sound or pictures on its way through the server, and where such packets come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class MediaPacket:
    """What is forwarded of an RTP packet (RFC 3550 section 5.1). The payload is never changed in place."""

    payload: bytes
    sequence: int  # uint16, of the stream that it came in
    timestamp: int  # uint32, of the stream that it came in
    marker: bool = False
    codec: str = "opus"  # opus, VP8 or H264
    profile: int | None = None  # H.264 profile_idc of the stream that it belongs to, where known
    level: int | None = None  # RFC 6464: loudness in -dBov, 0 the loudest to 127 silence, where the sender says it
    trailer: bytes = b""  # of a packet to be sent: motion behind the voice; one that came in has it cut off
    restart: bool = False  # the first of another stream, or after packets that were left out on purpose


class PacketSource(Protocol):
    """Incoming RTP of one track. What comes while nobody listens is dropped, never queued."""

    on_packet: Callable[[MediaPacket], None] | None
    on_trailer: Callable[[bytes], None] | None  # called with each motion message that came behind the voice
    reads_answers: bool  # whether whoever sends reads `answer_trailer`; a browser cannot

    @property
    def kind(self) -> Literal["audio", "video"]:
        """What it carries."""

    @property
    def codec(self) -> str:
        """What is expected, before anything has come: opus, VP8 or H264."""

    def request_keyframe(self) -> None:
        """Ask whoever sends for a keyframe, at once (PLI, RFC 4585 section 6.3.1)."""

    def limit_bitrate(self, bits_per_second: int | None) -> None:
        """Most that whoever sends may spend (REMB); None: what its line carries."""

    def answer_trailer(self, answer: bytes) -> None:
        """Answer the motion that came behind the voice: an acknowledgement or a refresh request."""
