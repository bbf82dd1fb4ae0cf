"""The RTP header extension that marks motion behind the voice, for aiortc, which knows seven others (RFC 8285)."""

from __future__ import annotations

from typing import Any, cast

from aiortc import RTCRtpHeaderExtensionParameters, codecs, rtp
from aiortc.rtp import (
    RTCP_PSFB_APP,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpPsfbPacket,
    RtpPacket,
    pack_header_extensions,
    unpack_header_extensions,
)

from server.wire.voice_trailer import EXTENSION_URI, MAX_TRAILER, cut_trailer, pack_answer

_ID = 5
"""Of the header extension in offers; aiortc has 1 to 3, and numbers are shared by sound and pictures."""


class ExtensionsMap(HeaderExtensionsMap):
    """aiortc's table of header extensions and the one of the trailer: its length, one byte."""

    def __init__(self) -> None:
        super().__init__()
        self._trailer: int | None = None

    def configure(self, parameters: Any) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == EXTENSION_URI:
                self._trailer = extension.id

    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        """Raises ValueError for a trailer's length that is not one byte; aiortc drops the packet then."""
        values = super().get(extension_profile, extension_value)
        if self._trailer is not None:
            for number, value in unpack_header_extensions(extension_profile, extension_value):
                if number == self._trailer:
                    if len(value) != 1:
                        raise ValueError("the length of a trailer is one byte")
                    mark_trailer(values, value[0])
        return values

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, data = super().set(values)
        length = _length(values)
        if length is None or self._trailer is None:
            return profile, data
        extensions = unpack_header_extensions(profile, data)
        return pack_header_extensions([*extensions, (self._trailer, bytes([length]))])


def extend_header_extensions() -> None:
    """Offer and understand the extension on every connection of this process. To be called once, on import."""
    codecs.HEADER_EXTENSIONS["audio"].append(RTCRtpHeaderExtensionParameters(id=_ID, uri=EXTENSION_URI))
    cast(Any, rtp).HeaderExtensionsMap = ExtensionsMap  # of which transports and senders make their own


def mark_trailer(extensions: HeaderExtensions, length: int) -> None:
    """Say in a packet's header extensions that its payload ends with a trailer of so many bytes; nothing for none."""
    assert 0 <= length <= MAX_TRAILER
    if length:
        cast(Any, extensions).trailer = length


def split_trailer(packet: RtpPacket) -> tuple[bytes, bytes]:
    """(payload without the trailer, trailer) of a packet that came. Raises BitstreamError when it is shorter."""
    length = _length(packet.extensions)
    return (packet.payload, b"") if length is None else cut_trailer(packet.payload, length)


def answer_packet(own: int, media: int, answer: bytes) -> RtcpPsfbPacket:
    """RTCP that answers a trailer; `own` and `media`: the SSRC of whoever answers, and of the sound."""
    return RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=own, media_ssrc=media, fci=pack_answer(answer))


def _length(extensions: HeaderExtensions) -> int | None:
    return cast("int | None", getattr(extensions, "trailer", None))
