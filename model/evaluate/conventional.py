"""Conventional video codecs as baselines, through the encoders that PyAV's wheel carries: bytes and decoded frames.

One keyframe at the start, constant quality, one thread. Real-time settings as a call would use them; `x264-medium`
looks ahead and uses B-frames, which a call cannot, and stands for what H.264 can do at best. The wheel has SVT-AV1 and
no libaom.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError

RTP_PAYLOAD = 1200
"""Bytes of video in a packet at most."""

RTP_OVERHEAD = 55
"""IPv4 20 + UDP 8 + RTP 12 + SRTP tag 10 and the payload descriptor, measured as 50 to 64 bytes a packet."""

_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Codec:
    """An encoder with its settings; `quality` values run from good to bad."""

    name: str
    encoder: str
    decoder: str
    options: Mapping[str, str]
    qualities: tuple[int, ...]


CODECS = {
    codec.name: codec
    for codec in (
        Codec("x264-medium", "libx264", "h264", {"preset": "medium", "sc_threshold": "0"}, (26, 31, 36, 40, 45, 51)),
        Codec(
            "x264-zerolatency",
            "libx264",
            "h264",
            {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0"},
            (26, 31, 36, 40, 45, 51),
        ),
        Codec(
            "vp9-realtime",
            "libvpx-vp9",
            "vp9",
            {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
            (36, 44, 52, 58, 63),
        ),
        Codec(
            "av1-realtime",
            "libsvtav1",
            "libdav1d",
            {"preset": "10", "svtav1-params": "rtc=1:pred-struct=1:lp=1"},
            (38, 46, 54, 60, 63),
        ),
    )
}


@dataclass(frozen=True)
class Coded:
    """A clip after a codec."""

    frames: NDArray[np.uint8] = field(repr=False)  # (T, H, W, 3) decoded
    sizes: tuple[int, ...]  # bytes of each encoded frame, the keyframe first

    def kbps(self, fps: float = 25.0) -> float:
        """Payload in kbit/s when the frames are sent at `fps`, the keyframe spread over the clip."""
        return sum(self.sizes) * 8 * fps / len(self.frames) / 1000

    def kbps_wire(self, fps: float = 25.0) -> float:
        """The same with the headers of every RTP packet."""
        packets = sum(ceil(size / RTP_PAYLOAD) for size in self.sizes)
        return (sum(self.sizes) + packets * RTP_OVERHEAD) * 8 * fps / len(self.frames) / 1000


def code(frames: NDArray[np.uint8], codec: Codec, quality: int, fps: int = 25) -> Coded:
    """Encode and decode frames uint8 (T, H, W, 3) RGB, H and W even, at a constant quality (CRF).

    Raises InputError when this build of the libraries lacks the encoder or it gives back another number of frames.
    """
    count, height, width, _ = frames.shape
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints errors only by no other way
    try:
        encoder = av.CodecContext.create(codec.encoder, "w")
        decoder = av.CodecContext.create(codec.decoder, "r")
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(f"this build of PyAV has no {codec.encoder}: {error}") from error
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.thread_count = decoder.thread_count = 1
    encoder.gop_size = _ENDLESS
    encoder.bit_rate = 0
    encoder.options = {**codec.options, "crf": str(quality)}
    decoded: list[NDArray[np.uint8]] = []
    sizes: list[int] = []

    def take(packets: Sequence[av.Packet[Any]]) -> None:
        for packet in packets:
            sizes.append(packet.size)
            decoded.extend(_rgb(frame) for frame in decoder.decode(packet))

    for i in range(count):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[i]), format="rgb24")
        picture = picture.reformat(format="yuv420p")
        picture.pts, picture.time_base = i, Fraction(1, fps)
        take(encoder.encode(picture))
    take(encoder.encode(None))
    decoded.extend(_rgb(frame) for frame in decoder.decode(None))
    if len(decoded) != count:
        raise InputError(f"{codec.encoder} gave {len(decoded)} frames back for {count}")
    return Coded(np.stack(decoded), tuple(sizes))


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
