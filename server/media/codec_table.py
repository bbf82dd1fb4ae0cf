"""What visavis adds to aiortc's table of codecs: profiles of H.264 that cameras send, and what Opus is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from aiortc import RTCRtpCodecParameters, codecs

_H264_PROFILES = ("4d001f", "64001f", "640c1f")
"""Main, High and Constrained High, beside the two Baseline profiles that aiortc has."""


def extend_codecs() -> None:
    """Offer and understand more on every connection of this process. To be called once, on import."""
    video = codecs.CODECS["video"]
    free = max(int(codec.payloadType or 0) for codec in video) + 1
    like = next(codec for codec in video if codec.name == "H264")
    for profile in _H264_PROFILES:
        parameters = dict(like.parameters) | {"profile-level-id": profile}
        video += [
            RTCRtpCodecParameters("video/H264", 90000, None, free, list(like.rtcpFeedback), parameters),
            RTCRtpCodecParameters("video/rtx", 90000, None, free + 1, [], {"apt": free}),
        ]
        free += 2
    opus = next(codec for codec in codecs.CODECS["audio"] if codec.name == "opus")
    opus.parameters = {"minptime": 10, "useinbandfec": 1}


def payload_type_of(negotiated: Sequence[RTCRtpCodecParameters], codec: str, profile: int | None) -> int | None:
    """The negotiated payload type of this codec, and of this profile_idc of H.264; None where there is none."""
    for offered in negotiated:
        if offered.name.upper() == codec.upper() and (codec != "H264" or _takes_profile(offered, profile)):
            return offered.payloadType
    return None


def _takes_profile(offered: RTCRtpCodecParameters, profile: int | None) -> bool:
    """Whether a decoder of the negotiated profile decodes this one: Baseline < Main < High."""
    negotiated = int(str(offered.parameters.get("profile-level-id", "42e01f"))[:2], 16)
    order = {66: 0, 77: 1, 100: 2}
    return profile is None or (profile in order and order[profile] <= order.get(negotiated, 0))
