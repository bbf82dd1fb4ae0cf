"""What stands around a payload on the wire, in bytes, and what a voice takes: so that whole calls can be compared.

IPv4 and UDP count in every packet, as do the tags of SRTP and DTLS. Acknowledgements, RTCP, retransmissions and FEC do
not count, neither ours nor a video codec's.
"""

from __future__ import annotations

from math import ceil

from model.codec.rate import HEADER_BYTES

RTP_PAYLOAD = 1200
"""Bytes of a picture in a packet at most."""

VIDEO_HEADER_BYTES = 20 + 8 + 12 + 10 + 5
"""IPv4, UDP, RTP, the tag of SRTP, and payload descriptor with header extensions: measured as 50 to 64 in all."""

DATA_HEADER_BYTES = HEADER_BYTES
"""Of a data channel's message: a source image's pieces, and motion in a call without sound."""

TRAILER_HEADER_BYTES = 2
"""What a trailer adds to a packet of the voice: the element of the header extension that holds its length."""

VOICE_PAYLOAD_KBPS = 14.0
VOICE_PACKETS_A_SECOND = 1000 / 60
VOICE_HEADER_BYTES = 64
"""IPv4 20, UDP 8, RTP 12, header extensions 14, tag 10: measured (docs/performance.md)."""


def voice_kbps() -> float:
    """Somebody who talks without a pause, kbit/s on the wire."""
    return VOICE_PAYLOAD_KBPS + VOICE_PACKETS_A_SECOND * VOICE_HEADER_BYTES * 8 / 1000


def picture_bytes(payload: int) -> int:
    """A coded picture in RTP packets."""
    return payload + ceil(payload / RTP_PAYLOAD) * VIDEO_HEADER_BYTES


def image_bytes(payload: int) -> int:
    """A source image or a window on the data channel."""
    return payload + ceil(payload / RTP_PAYLOAD) * DATA_HEADER_BYTES


def spread_kbps(kbps: float, once_bytes: int, seconds: float) -> float:
    """A rate with what is sent once, a source image or a keyframe, spread over a call of some seconds."""
    return kbps + once_bytes * 8 / seconds / 1000
