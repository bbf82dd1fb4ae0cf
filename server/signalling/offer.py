"""Checks an SDP offer before anything is made for it (RFC 8866), and picks the video codec of the answer.

Pure: text in, `Offer` out. Candidates that are not to be tried are dropped (`candidates.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiortc.sdp import SessionDescription

from server.errors import SdpError, TooLargeError, UnsupportedMediaError
from server.signalling.candidates import with_usable_candidates
from server.signalling.protocol import MAX_SDP_CHARACTERS

MAX_MEDIA_SECTIONS = 8
MAX_CANDIDATES = 64

VideoCodec = Literal["VP8", "H264"]


@dataclass(frozen=True)
class Offer:
    """A session description that was checked and can be answered."""

    sdp: str
    has_audio: bool
    has_video: bool
    has_data: bool
    video_codecs: frozenset[str]  # of VP8, H264
    sends: bool  # some audio or video section sends


def parse_offer(sdp: str, private_candidates: bool = True) -> Offer:
    """Check an SDP offer (RFC 8866). Raises SdpError, TooLargeError.

    private_candidates: whether candidates in private and loopback ranges are tried
    """
    if len(sdp) > MAX_SDP_CHARACTERS:
        raise TooLargeError(f"a session description is at most {MAX_SDP_CHARACTERS} characters")
    if len(re.findall(r"(?m)^a=candidate:", sdp)) > MAX_CANDIDATES:
        raise SdpError(f"the session description has more than {MAX_CANDIDATES} candidates")
    sdp = with_usable_candidates(sdp, private_candidates)
    try:
        description = SessionDescription.parse(sdp)
    except Exception as error:
        # aiortc's parser was not written for hostile input: it asserts, indexes and converts, and raises accordingly.
        raise SdpError(f"the session description cannot be parsed ({type(error).__name__})") from None
    media = description.media
    if not media:
        raise SdpError("the session description has no media section")
    if len(media) > MAX_MEDIA_SECTIONS:
        raise SdpError(f"the session description has more than {MAX_MEDIA_SECTIONS} media sections")
    for section in media:
        if section.kind not in ("audio", "video", "application"):
            raise SdpError(f"media sections are audio, video or application, not {section.kind[:16]!r}")
        if not (section.ice and section.ice.usernameFragment and section.ice.password):
            raise SdpError("the session description lacks ice-ufrag or ice-pwd (RFC 8839)")
        if not (section.dtls and section.dtls.fingerprints):
            raise SdpError("the session description lacks a DTLS fingerprint (RFC 8122)")
    kinds = [section.kind for section in media]
    if kinds.count("application") > 1:
        raise SdpError("the session description has more than one application section")
    return Offer(
        sdp=sdp,
        has_audio="audio" in kinds,
        has_video="video" in kinds,
        has_data="application" in kinds,
        video_codecs=frozenset(
            codec.name.upper() for section in media if section.kind == "video" for codec in section.rtp.codecs
        )
        & {"VP8", "H264"},
        sends=any(s.kind != "application" and s.direction in ("sendonly", "sendrecv", None) for s in media),
    )


def choose_codec(offer: Offer, preference: Sequence[str], wanted: str | None = None) -> VideoCodec:
    """The codec to send: `wanted`, or the first of `preference` that the offer has. Raises UnsupportedMediaError."""
    for codec in [wanted] if wanted else preference:
        if codec in offer.video_codecs:
            return "VP8" if codec == "VP8" else "H264"
    raise UnsupportedMediaError("the offer has no video section with VP8 or H.264 that this server sends")
