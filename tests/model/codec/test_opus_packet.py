"""Opus packets joined without encoding: the bytes of RFC 6716 section 3.2.5, and a decoder that hears the same."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from model.codec.opus_packet import SILENCE, SILENCE_SAMPLES, frame_samples, join_packets
from model.errors import BitstreamError


def coded(milliseconds: int = 20) -> list[bytes]:
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout, codec.sample_rate = 14_000, "s16", "mono", 48_000
    codec.options = {"application": "voip", "frame_duration": str(milliseconds)}
    count = 48 * milliseconds
    wave = (9000 * np.sin(np.arange(48_000) / 48_000 * 2 * np.pi * 300)).astype(np.int16)
    packets: list[bytes] = []
    for start in range(0, len(wave) - count + 1, count):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + count], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def decoded(packets: list[bytes]) -> np.ndarray:
    codec: Any = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = 48_000, "mono"
    return np.concatenate([f.to_ndarray().reshape(-1) for data in packets for f in codec.decode(av.Packet(data))])


def test_joined_packets_decode_to_the_same_sound() -> None:
    packets = [packet for packet in coded() if packet[0] == 72]
    packets = packets[: len(packets) // 3 * 3]
    joined = [join_packets(packets[i : i + 3]) for i in range(0, len(packets), 3)]
    assert len(joined) >= 10
    assert np.array_equal(decoded(joined), decoded(packets))


def test_the_bytes_of_a_joined_packet() -> None:
    assert join_packets([b"\x48a", b"\x48bc", b"\x48"]) == bytes([0x4B, 0x83, 1, 2]) + b"abc"
    long = bytes([72]) + bytes(300)
    assert join_packets([long, long])[:4] == bytes([0x4B, 0x82, 252, 12]), "252 + 4 * 12 = 300"
    assert join_packets([long]) is long


@pytest.mark.parametrize(
    "packets",
    [[], [b"\x48a", b"\x50a"], [b"\x4ba", b"\x4ba"], [b"\x48a", b""], 7 * [b"\x48a"], 2 * [bytes([72]) + bytes(1276)]],
    ids=["none", "another configuration", "joined already", "empty", "above 120 ms", "too long a frame"],
)
def test_what_cannot_be_joined_is_refused(packets: list[bytes]) -> None:
    with pytest.raises(BitstreamError):
        join_packets(packets)


def test_lengths_in_time() -> None:
    for milliseconds in (20, 40, 60):
        assert {frame_samples(p) * (1 + (p[0] & 3 > 0)) for p in coded(milliseconds)[:1]} <= {48 * milliseconds, 1920}
    assert frame_samples(SILENCE) == SILENCE_SAMPLES
    assert len(decoded([*coded()[:5], SILENCE])) == 6 * 960
    with pytest.raises(BitstreamError):
        frame_samples(b"")
