"""Conventional video codecs as baselines: bytes and decoded frames.

One keyframe at the start, constant quality, one thread. `x264-medium`, `x265-medium` and `vvenc-faster` look ahead and
use B-frames, which a call cannot: they stand for what their formats can do at best. The others have the settings of a
call. Most encoders come with PyAV's wheel; libaom and VVenC are in the program of `external_encoder.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.evaluate import external_encoder
from model.evaluate.wire import picture_bytes

_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Codec:
    """An encoder with its settings; `quality` values run from good to bad."""

    name: str
    encoder: str
    decoder: str
    options: Mapping[str, str]
    qualities: tuple[int, ...]
    quality: str = "crf"  # the option that takes it
    container: str | None = None  # raw stream in which the external program gives packets; None: PyAV's own encoder


_CRF = (20, 24, 28, 33, 39)
_AV1_CRF = (24, 36, 46, 55, 63)

CODECS = {
    codec.name: codec
    for codec in (
        Codec("x264-medium", "libx264", "h264", {"preset": "medium", "sc_threshold": "0"}, _CRF),
        Codec(
            "x264-zerolatency",
            "libx264",
            "h264",
            {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0"},
            _CRF,
        ),
        Codec(
            "x265-medium",
            "libx265",
            "hevc",
            {"preset": "medium", "x265-params": "scenecut=0:keyint=-1:pools=none:frame-threads=1:log-level=none"},
            _CRF,
        ),
        Codec(
            "vp9-realtime",
            "libvpx-vp9",
            "vp9",
            {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
            _AV1_CRF,
        ),
        Codec(
            "svt-av1-realtime",
            "libsvtav1",
            "libdav1d",
            {"preset": "10", "svtav1-params": "rtc=1:pred-struct=1:lp=1"},
            _AV1_CRF,
        ),
        Codec(
            "libaom-realtime",
            "libaom-av1",
            "libdav1d",
            {"usage": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b:v": "0", "g": str(_ENDLESS)},
            _AV1_CRF,
            container="ivf",
        ),
        Codec(
            "vvenc-faster",
            "libvvenc",
            "vvc",
            {"preset": "faster", "g": "1024"},
            (22, 27, 31, 35, 40),
            quality="qp",
            container="vvc",
        ),
    )
}
"""x264 at the settings of a call and at its best; the rest likewise, as far as their encoders exist."""


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
        return sum(picture_bytes(size) for size in self.sizes) * 8 * fps / len(self.frames) / 1000


def code(frames: NDArray[np.uint8], codec: Codec, quality: int, fps: int = 25) -> Coded:
    """Encode and decode frames uint8 (T, H, W, 3) RGB, H and W even, at a constant quality (CRF or QP).

    Raises InputError when the encoder or decoder is not there or it gives back another number of frames.
    """
    options = {**codec.options, codec.quality: str(quality)}
    try:
        decoder = av.CodecContext.create(codec.decoder, "r")
        if codec.container is None:
            packets = _encode(frames, codec.encoder, options, fps)
        else:
            packets = external_encoder.encode(frames, codec.encoder, options, codec.container, fps)
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.thread_count = 1
        decoded = [_rgb(frame) for packet in [*packets, None] for frame in decoder.decode(packet)]
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(f"no {codec.name} here: {error}") from error
    if len(decoded) != len(frames) or len(packets) != len(frames):
        raise InputError(f"{codec.encoder} gave {len(decoded)} frames in {len(packets)} packets back for {len(frames)}")
    return Coded(np.stack(decoded), tuple(packet.size for packet in packets))


def _encode(frames: NDArray[np.uint8], name: str, options: Mapping[str, str], fps: int) -> list[av.Packet[Any]]:
    """Packets in coding order from an encoder of PyAV's wheel."""
    _, height, width, _ = frames.shape
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints errors only by no other way
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.thread_count = 1
    encoder.gop_size = _ENDLESS
    encoder.bit_rate = 0
    encoder.options = dict(options)
    packets: list[av.Packet[Any]] = []
    for i, rgb in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        picture = picture.reformat(format="yuv420p")
        picture.pts, picture.time_base = i, Fraction(1, fps)
        packets += encoder.encode(picture)
    return [*packets, *encoder.encode(None)]


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
