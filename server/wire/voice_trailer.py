"""Motion behind the voice: how a trailer is marked, and how its answers come back.

docs/protocol.md, "Behind the voice", has the bytes.

A trailer is one motion message. It stands behind the Opus payload in the same RTP packet and is encrypted with it. Its
length is in a header extension, and answers are application layer feedback of RTCP (RFC 4585 section 6.4). A browser
can write no such extension and reads no RTCP: it marks the length in the payload's last byte, and answers take the data
channel.
"""

from __future__ import annotations

from model.errors import BitstreamError

EXTENSION_URI = "urn:visavis:rtp-hdrext:motion-trailer"
"""Negotiated in SDP (RFC 8285 section 5). Whoever does not know it does not answer it, and nothing is sent behind."""

PAYLOAD_ATTRIBUTE = "visavis-motion-trailer"
"""Of SDP, in the audio section of an offer and of its answer: every payload ends with the length of its trailer."""

MAX_TRAILER = 255
"""Bytes; a longer message takes the data channel."""

FEEDBACK_NAME = b"VVMT"

MAX_ANSWER = 255


def cut_trailer(payload: bytes, length: int) -> tuple[bytes, bytes]:
    """(Opus packet, motion message) of an RTP payload whose header extension says `length`.

    Raises BitstreamError when the payload is shorter.
    """
    if not 0 <= length <= len(payload):
        raise BitstreamError(f"a trailer of {length} bytes in a payload of {len(payload)}")
    place = len(payload) - length
    return payload[:place], payload[place:]


def cut_marked(payload: bytes) -> tuple[bytes, bytes]:
    """(Opus packet, motion message) of an RTP payload whose last byte is the trailer's length.

    Raises BitstreamError when the payload is shorter than that, or empty.
    """
    if not payload:
        raise BitstreamError("a payload without the length of its trailer")
    return cut_trailer(payload[:-1], payload[-1])


def pack_answer(answer: bytes) -> bytes:
    """Feedback control information of RTCP with an acknowledgement or a refresh request; a multiple of 4 bytes."""
    if not 1 <= len(answer) <= MAX_ANSWER:
        raise ValueError(f"an answer has 1 to {MAX_ANSWER} bytes, not {len(answer)}")
    data = FEEDBACK_NAME + bytes([len(answer)]) + answer
    return data + bytes(-len(data) % 4)


def unpack_answer(fci: bytes) -> bytes | None:
    """The answer in feedback control information; None where it is of something else.

    Raises BitstreamError when it is cut short, or longer than its length says.
    """
    if fci[:4] != FEEDBACK_NAME:
        return None
    length = fci[4] if len(fci) > 4 else 0
    if not length or len(fci) != 5 + length + -(5 + length) % 4:
        raise BitstreamError(f"feedback of {len(fci)} bytes cannot hold an answer of {length}")
    return fci[5 : 5 + length]
