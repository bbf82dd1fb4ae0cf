"""Which frames of the packet before an Opus packet holds again: in-band FEC (RFC 6716 sections 4.1 and 4.2.4). Pure."""

from __future__ import annotations

_FLAGS = {2: (256, 203, 150, 0), 3: (256, 215, 195, 166, 125, 110, 82, 0)}
"""LBRR flags of packets with two or three SILK frames: inverse cumulative frequencies, of 256, from the value 1 on."""

_PIECES = {0: 1, 1: 1, 2: 2, 3: 3}
"""SILK frames of 20 ms in a packet, by the lower bits of its configuration; the first of 10 ms is one, too."""


class _RangeDecoder:
    """As in section 4.1; beyond its end the data is zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0
        self._range = 128
        self._byte = self._next()
        self._value = 127 - (self._byte >> 1)
        self._normalise()

    def bit(self) -> bool:
        """A bit that is as often 0 as 1."""
        half = self._range >> 1
        one = self._value < half
        if one:
            self._range = half
        else:
            self._value, self._range = self._value - half, self._range - half
        self._normalise()
        return one

    def symbol(self, inverse: tuple[int, ...]) -> int:
        """Index of a symbol whose inverse cumulative frequencies, of 256, these are."""
        unit, upper, index = self._range >> 8, self._range, 0
        while True:
            lower = unit * inverse[index + 1]
            if self._value >= lower:
                break
            upper, index = lower, index + 1
        self._value, self._range = self._value - lower, upper - lower
        self._normalise()
        return index

    def _next(self) -> int:
        self._place += 1
        return self._data[self._place - 1] if self._place <= len(self._data) else 0

    def _normalise(self) -> None:
        while self._range <= 1 << 23:
            before, self._byte = self._byte, self._next()
            self._range <<= 8
            self._value = ((self._value << 8) + (255 & ~((before << 8 | self._byte) >> 1))) & 0x7FFFFFFF


def repeated_pieces(payload: bytes) -> tuple[bool, ...]:
    """For each piece of 20 ms of the packet before, whether this mono packet of one Opus frame holds it again.

    Empty for packets that cannot: of CELT or hybrid, stereo, or with several frames.
    """
    if len(payload) < 2 or payload[0] >> 3 >= 12 or payload[0] & 7:
        return ()
    pieces = _PIECES[payload[0] >> 3 & 3]
    decoder = _RangeDecoder(payload[1:])
    for _ in range(pieces):
        decoder.bit()  # voice activity
    if not decoder.bit():
        return (False,) * pieces
    flags = 1 if pieces == 1 else 1 + decoder.symbol(_FLAGS[pieces])
    return tuple(bool(flags >> piece & 1) for piece in range(pieces))
