"""Checks an SDP offer before anything is made for it (RFC 8866), and picks the video codec of the answer.

Pure: text in, `Offer` out. What an offer may hold goes by what its request may do: `publishing` and `watching`.
Candidates that are not to be tried are dropped (`candidates.py`).
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
from server.wire.voice_trailer import PAYLOAD_ATTRIBUTE

MAX_MEDIA_SECTIONS = 8
MAX_CANDIDATES = 64

VideoCodec = Literal["VP8", "H264"]

_MARK = f"a={PAYLOAD_ATTRIBUTE}"


@dataclass(frozen=True)
class Offer:
    """A session description that was checked and can be answered."""

    sdp: str
    has_audio: bool
    has_video: bool
    has_data: bool
    video_codecs: frozenset[str]  # of VP8, H264
    has_opus: bool  # every audio section has Opus
    sends: tuple[str, ...]  # kinds of the audio and video sections that send, one each
    receives: tuple[str, ...]  # kinds of those that receive
    marked_payloads: bool  # each of the sound ends with the length of its trailer
    ufrag: str  # ICE user name fragment of the first section
    password: str


def parse_offer(sdp: str, private_candidates: bool = True) -> Offer:
    """Check an SDP offer (RFC 8866). Raises SdpError, TooLargeError.

    private_candidates: whether candidates in private and loopback ranges are tried
    """
    if len(sdp) > MAX_SDP_CHARACTERS:
        raise TooLargeError(f"a session description is at most {MAX_SDP_CHARACTERS} characters")
    if len(re.findall(r"(?m)^a=candidate:", sdp)) > MAX_CANDIDATES:
        raise SdpError(f"the session description has more than {MAX_CANDIDATES} candidates")
    sdp = _with_packetization(with_usable_candidates(sdp, private_candidates))
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
    mids = [section.rtp.muxId for section in media]
    bundled = [mid for group in description.group if group.semantic == "BUNDLE" for mid in group.items]
    if len(set(mids)) < len(mids) or not set(bundled) <= set(mids):
        raise SdpError("the media sections and the BUNDLE group do not fit each other (RFC 9143)")
    kinds = [section.kind for section in media]
    ice = media[0].ice
    assert ice is not None  # checked above
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
        has_opus=all(
            any(codec.name.lower() == "opus" for codec in section.rtp.codecs)
            for section in media
            if section.kind == "audio"
        ),
        sends=tuple(s.kind for s in media if s.kind != "application" and s.direction in ("sendonly", "sendrecv", None)),
        receives=tuple(
            s.kind for s in media if s.kind != "application" and s.direction in ("recvonly", "sendrecv", None)
        ),
        marked_payloads=any(_MARK in section.splitlines() for section in _audio_sections(sdp)),
        ufrag=str(ice.usernameFragment),
        password=str(ice.password),
    )


def with_marked_payloads(answer: str) -> str:
    """Say in an answer's audio section that payloads which end with the length of their trailer are understood."""
    for section in _audio_sections(answer):
        answer = answer.replace(section, f"{section}{_MARK}\r\n")
    return answer


def _audio_sections(sdp: str) -> list[str]:
    return [section for section in re.split(r"(?m)^(?=m=)", sdp) if section.startswith("m=audio ")]


def publishing(offer: Offer) -> None:
    """Check the sections of an offer that publishes: at most one of each kind, and codecs that viewers get.

    Raises SdpError, UnsupportedMediaError.
    """
    if not (offer.has_data or offer.sends):
        raise SdpError("the offer sends neither motion nor sound nor pictures")
    for kind in ("audio", "video"):
        if offer.sends.count(kind) + (offer.receives.count(kind) if kind not in offer.sends else 0) > 1:
            raise SdpError(f"a publisher's offer has one {kind} section at most")
    if "audio" in offer.sends and not offer.has_opus:
        raise UnsupportedMediaError("sound is taken as Opus alone, and the offer has none")
    if "video" in offer.sends and not offer.video_codecs:
        raise UnsupportedMediaError("pictures are taken as VP8 or H.264, and the offer has neither")


def watching(offer: Offer) -> None:
    """Check the sections of an offer that watches: at most one of each kind, none that only sends, no data channels.

    Raises SdpError, UnsupportedMediaError.
    """
    if offer.has_data:
        raise SdpError("a viewer's offer has no data channels")
    for kind, has in (("audio", offer.has_audio), ("video", offer.has_video)):
        if has and (kind not in offer.receives or offer.receives.count(kind) > 1):
            raise SdpError(f"a viewer's offer has one {kind} section at most, and receives on it")
        if offer.sends.count(kind) > offer.receives.count(kind):
            raise SdpError("a viewer's offer sends nothing")
    if not offer.receives:
        raise SdpError("the offer receives neither sound nor pictures")
    if offer.has_audio and not offer.has_opus:
        raise UnsupportedMediaError("sound is sent as Opus alone, and the offer has none")


def _with_packetization(sdp: str) -> str:
    """Say `packetization-mode=1` where no H.264 payload of a section does (RFC 6184, section 8.1).

    Encoders of others leave the format's parameters out, or name mode 0; a reader of mode 1 takes such packets as well.
    """
    sections = re.split(r"(?m)^(?=m=)", sdp)
    for place, section in enumerate(sections):
        payloads = re.findall(r"(?mi)^a=rtpmap:(\d+) H264/90000", section)
        if not payloads or re.search(r"(?m)^a=fmtp:.*packetization-mode=1", section):
            continue
        for payload in payloads:
            line = re.compile(rf"(?m)^a=fmtp:{payload} ([^\r\n]*)")
            if line.search(section):
                section = line.sub(lambda match: _in_mode_1(match.group(0)), section)
            else:
                rtpmap = re.compile(rf"(?mi)^(a=rtpmap:{payload} H264/90000[^\r\n]*)")
                section = rtpmap.sub(rf"\1\r\na=fmtp:{payload} packetization-mode=1", section)
        sections[place] = section
    return "".join(sections)


def _in_mode_1(line: str) -> str:
    head, _, rest = line.partition(" ")
    parameters = [part.strip() for part in rest.split(";")]
    kept = [part for part in parameters if part and not part.startswith("packetization-mode")]
    return f"{head} {';'.join([*kept, 'packetization-mode=1'])}"


def choose_codec(offer: Offer, preference: Sequence[str], wanted: str | None = None) -> VideoCodec:
    """The codec to send: `wanted`, or the first of `preference` that the offer has. Raises UnsupportedMediaError."""
    for codec in [wanted] if wanted else preference:
        if codec in offer.video_codecs:
            return "VP8" if codec == "VP8" else "H264"
    raise UnsupportedMediaError("the offer has no video section with VP8 or H.264 that this server sends")
