"""The outside of Opus packets (RFC 6716 section 3): their length in time, joined ones, silence. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import BitstreamError

MAX_SAMPLES = 5760
"""Sound in one packet at most, samples at 48 kHz: 120 ms (section 3.2.5, R5)."""

_MAX_FRAME = 1275
_SILK = (480, 960, 1920, 2880)
_CELT = (120, 240, 480, 960)

SILENCE = bytes([9 << 3])
"""A packet of 20 ms without sound: wideband SILK, mono, one frame of no bytes, which is DTX (section 2.1.9). Decoders
go on with comfort noise until the next packet."""

SILENCE_SAMPLES = 960


def frame_samples(packet: bytes) -> int:
    """Samples at 48 kHz of each frame of a packet (section 3.1, table 2). Raises BitstreamError for an empty one."""
    if not packet:
        raise BitstreamError("an Opus packet has at least one byte")
    config = packet[0] >> 3
    if config < 12:
        return _SILK[config % 4]
    if config < 16:
        return _SILK[config % 2]
    return _CELT[config % 4]


def packet_samples(packet: bytes) -> int:
    """Samples at 48 kHz of a whole packet (section 3.2). Raises BitstreamError for one that cannot be."""
    samples = frame_samples(packet)
    code = packet[0] & 3
    if code == 3 and len(packet) < 2:
        raise BitstreamError("an Opus packet of code 3 says how many frames it has")
    samples *= (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]
    if not 0 < samples <= MAX_SAMPLES:
        raise BitstreamError("an Opus packet lasts at most 120 ms")
    return samples


def join_packets(packets: Sequence[bytes]) -> bytes:
    """Packets of one frame each and of one configuration as one packet of code 3 with lengths (section 3.2.5).

    One packet is returned as it is. Raises BitstreamError where these cannot be joined: no packets, more than 120 ms,
    packets of several frames, or different ones.
    """
    if not packets:
        raise BitstreamError("there is nothing to join")
    if len(packets) == 1:
        return packets[0]
    if not joinable(packets):
        raise BitstreamError("Opus packets of different configurations, or of more than one frame, cannot be joined")
    frames = [packet[1:] for packet in packets]
    # The last frame's length follows from the packet's.
    lengths = b"".join(_length(len(frame)) for frame in frames[:-1])
    return bytes([packets[0][0] | 3, 0x80 | len(frames)]) + lengths + b"".join(frames)


def joinable(packets: Sequence[bytes]) -> bool:
    """Whether these can be one packet."""
    return (
        all(
            packet and packet[0] == packets[0][0] and not packet[0] & 3 and len(packet) <= 1 + _MAX_FRAME
            for packet in packets
        )
        and sum(map(frame_samples, packets)) <= MAX_SAMPLES
    )


def _length(size: int) -> bytes:
    """Section 3.2.1."""
    if size < 252:
        return bytes([size])
    first = 252 + size % 4
    return bytes([first, (size - first) // 4])
