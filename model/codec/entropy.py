"""Entropy coder: a byte-oriented range coder and the Laplace tables of the motion residuals.

The coder is a 32-bit range coder with carry propagation (G. N. N. Martin, "Range encoding", 1979; the carry goes
straight into the bytes already written, so no cache byte is needed). Frequencies have 16 bits. Everything is integer
arithmetic below 2^53, the tables included, so that a second implementation in a language with only doubles
(JavaScript) gives the same bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.errors import BitstreamError

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS
_TOP = 1 << 24
_MASK = 0xFFFFFFFF

LAPLACE_LIMIT = 14
"""Residuals up to this magnitude have a symbol of their own; larger ones are an escape symbol and raw bits."""

ESCAPE_LENGTH_BITS = 5
MAX_ESCAPE_BITS = 17  # levels are 16-bit, so a difference of two levels has at most 17 bits

WIDTHS = 28
"""Laplace tables. Width index t stands for b = 2^((t - 20) / 4) levels; from t = 28 on, low bits are sent raw."""

MAX_WIDTH = 24 + 4 * 14 + 3
"""Largest width index that `encode_laplace` accepts: 14 raw bits below the widest table."""

# round(65536 exp(-1 / b_t)) for t = 0 ... 36: the chance that a geometric magnitude grows by one more.
_DECAY = (
    *(0, 0, 0, 0, 0, 0, 1, 5, 22, 79, 229, 563, 1200, 2268, 3874, 6075, 8869, 12192, 15933, 19953),
    *(24109, 28267, 32314, 36162, 39750, 43041, 46019, 48681, 51039, 53111, 54917, 56484, 57835, 58997, 59992, 60842),
    61565,
)


def _tails(t: int) -> list[int]:
    """Q16 probability of |r| > k for k = 0 ... LAPLACE_LIMIT of a quantised Laplace variable with width index t."""
    tails = [_DECAY[t + 4]]  # exp(-1 / 2b): half a step lies on either side of zero
    for _ in range(LAPLACE_LIMIT):
        tails.append((tails[-1] * _DECAY[t]) >> 16)
    return tails


def laplace_frequencies(t: int) -> list[int]:
    """Integer frequencies (sum 65536) of the 31 symbols: escape below, r = -14 ... 14, escape above.

    Seven parts Laplace of width index t (0 ... 27) and one part of width index t + 5: motion residuals have heavier
    tails than a Laplace variable (a blink, a nod), and the second part makes those cheap.
    """
    narrow, wide = _tails(t), _tails(t + 5)
    mixed = [7 * a + b for a, b in zip(narrow, wide, strict=True)]  # Q19
    magnitudes = [mixed[k - 1] - mixed[k] for k in range(1, LAPLACE_LIMIT + 1)] + [mixed[LAPLACE_LIMIT]]
    side = [max(1, m >> 4) for m in magnitudes]
    return [*reversed(side), TOTAL - 2 * sum(side), *side]


def cumulative(frequencies: list[int]) -> list[int]:
    """Cumulative frequencies, one entry more than symbols: from 0 to 65536."""
    sums = [0]
    for frequency in frequencies:
        sums.append(sums[-1] + frequency)
    return sums


LAPLACE_TABLES: tuple[list[int], ...] = tuple(cumulative(laplace_frequencies(t)) for t in range(WIDTHS))


class LaplaceRun(NamedTuple):
    """Neighbouring residuals of one width, as the loops over a frame want them: most residuals are 0."""

    length: int
    width: int
    zero_start: int  # of 65536, where residual 0 begins, and how much it owns
    zero_span: int  # 0 with raw bits: then the symbol alone does not tell a residual
    sums: list[int]  # cumulative frequencies; empty with raw bits
    leap: ZeroLeap | None  # None where a leap would not pay


class ZeroLeap(NamedTuple):
    """What LEAP residuals 0 in a row do to a range coder, by the `unit` (range >> 16) before the first of them.

    The range after a symbol depends on that unit and the symbol alone. So a decoder decides of LEAP residuals at once,
    exactly: intervals are nested, and the code lies in all of them when it lies in the last one.
    """

    offset: array[int]  # (65536,) how far the low end moves
    span: array[int]  # (65536,) range after the last; 0 where a byte is to be read in between


LEAP = 16
_LIKELY = 0.95
"""Probability of residual 0 from which LEAP of them in a row are about as likely as not."""


@cache
def zero_leap(width: int) -> ZeroLeap | None:
    """Table of a width index, 512 kB; None where residuals other than 0 are too frequent. Built when first needed."""
    start, span = _zero(width)
    if span < _LIKELY * TOTAL:
        return None
    unit = np.arange(TOTAL, dtype=np.int64)
    offset, size, whole = np.zeros_like(unit), unit << TOTAL_BITS, np.ones(TOTAL, bool)
    for _ in range(LEAP):
        whole &= size >= _TOP
        offset += start * unit
        size = span * unit
        unit = size >> TOTAL_BITS
    size[~whole] = 0
    return ZeroLeap(array("I", offset.astype(np.uint32).tobytes()), array("I", size.astype(np.uint32).tobytes()))


def _zero(width: int) -> tuple[int, int]:
    """Where residual 0 begins, of 65536, and how much it owns; nothing with raw bits."""
    if width >= WIDTHS:
        return 0, 0
    sums, zero = LAPLACE_TABLES[width], LAPLACE_LIMIT + 1
    return sums[zero], sums[zero + 1] - sums[zero]


def laplace_runs(widths: Sequence[int]) -> list[LaplaceRun]:
    """Width indices (0 ... MAX_WIDTH) of residuals in their order, neighbours of one width together."""
    runs = []
    for width, group in groupby(widths):
        length = len(list(group))
        sums = LAPLACE_TABLES[width] if width < WIDTHS else []
        runs.append(LaplaceRun(length, width, *_zero(width), sums, zero_leap(width) if length >= LEAP else None))
    return runs


class RangeEncoder:
    """Writes symbols of given cumulative frequencies to bytes."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _MASK
        self._out = bytearray()

    def encode(self, start: int, end: int) -> None:
        """Code the symbol that owns [start, end) of 65536."""
        unit = self._range >> TOTAL_BITS
        low = self._low + start * unit
        span = (end - start) * unit
        if low > _MASK:
            low &= _MASK
            self._carry()
        while span < _TOP:
            self._out.append(low >> 24)
            low = (low << 8) & _MASK
            span <<= 8
        self._low = low
        self._range = span

    def encode_bits(self, value: int, count: int) -> None:
        """Code `count` (0 ... 16) raw bits."""
        if count:
            shift = TOTAL_BITS - count
            self.encode(value << shift, (value + 1) << shift)

    def encode_residuals(self, residuals: Sequence[int], runs: Sequence[LaplaceRun]) -> None:
        """The bytes of `encode_laplace` for each residual with its run's width, faster."""
        low, span, out = self._low, self._range, self._out
        end = 0
        for length, width, zero_start, zero_span, sums, _ in runs:
            begin, end = end, end + length
            for residual in residuals[begin:end]:
                if not residual and zero_span:
                    start, size = zero_start, zero_span
                elif sums and -LAPLACE_LIMIT <= residual <= LAPLACE_LIMIT:
                    start = sums[residual + LAPLACE_LIMIT + 1]
                    size = sums[residual + LAPLACE_LIMIT + 2] - start
                else:  # raw bits or an escape: seldom
                    self._low, self._range = low, span
                    encode_laplace(self, residual, width)
                    low, span = self._low, self._range
                    continue
                unit = span >> TOTAL_BITS
                low += start * unit
                span = size * unit
                if low > _MASK:
                    low &= _MASK
                    self._carry()
                while span < _TOP:
                    out.append(low >> 24)
                    low = (low << 8) & _MASK
                    span <<= 8
        self._low, self._range = low, span

    def finish(self) -> bytes:
        """The shortest byte string that decodes to what was coded; the decoder reads zeros beyond its end."""
        for count in range(5):
            unit = 1 << (32 - 8 * count)
            value = -(-self._low // unit) * unit
            if value < self._low + self._range:
                break
        if value > _MASK:
            value &= _MASK
            self._carry()
        for index in range(count):
            self._out.append((value >> (24 - 8 * index)) & 0xFF)
        while self._out and self._out[-1] == 0:
            self._out.pop()
        return bytes(self._out)

    def _carry(self) -> None:
        index = len(self._out) - 1
        while self._out[index] == 0xFF:
            self._out[index] = 0
            index -= 1
        self._out[index] += 1


class RangeDecoder:
    """Reads what `RangeEncoder` wrote. Every method raises BitstreamError on bytes that no encoder writes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._range = _MASK
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._position = 4

    def decode(self, sums: list[int]) -> int:
        """Index of the next symbol under cumulative frequencies `sums`."""
        unit = self._range >> TOTAL_BITS
        target = self._code // unit
        if target >= TOTAL:
            raise BitstreamError("motion payload is damaged (a code beyond the range)")
        symbol = bisect_right(sums, target) - 1
        self._narrow(sums[symbol] * unit, (sums[symbol + 1] - sums[symbol]) * unit)
        return symbol

    def decode_bits(self, count: int) -> int:
        """The next `count` (0 ... 16) raw bits."""
        if not count:
            return 0
        unit = self._range >> TOTAL_BITS << (TOTAL_BITS - count)
        value = self._code // unit
        if value >> count:
            raise BitstreamError("motion payload is damaged (a code beyond the range)")
        self._narrow(value * unit, unit)
        return value

    def decode_residuals(self, runs: Sequence[LaplaceRun]) -> tuple[list[int], list[int]]:
        """What `decode_laplace` reads with each run's width: places and values of the residuals that are not 0.

        Nearly all of a decoder's time goes here: its state lies in local names, residual 0 is tried before the others,
        and many of them at once where they are likely. Raises BitstreamError.
        """
        data, code, span, position = self._data, self._code, self._range, self._position
        top = _TOP
        places: list[int] = []
        values: list[int] = []
        end = 0
        for length, width, zero_start, zero_span, sums, leap in runs:
            place, end = end, end + length
            while place < end:
                stop = end
                if leap is not None and end - place >= LEAP:
                    unit = span >> 16
                    rest, leapt = code - leap.offset[unit], leap.span[unit]
                    stop = place + LEAP
                    if 0 <= rest < leapt:
                        place, code, span = stop, rest, leapt
                        if span < top:
                            code, span, position = _refill(data, code, span, position)
                        continue
                for here in range(place, stop):
                    unit = span >> 16
                    rest = code - zero_start * unit
                    zero = zero_span * unit
                    if 0 <= rest < zero:  # as zero_start <= code // unit < zero_start + zero_span
                        code, span = rest, zero
                    else:
                        target = code // unit
                        if target >= TOTAL:
                            raise BitstreamError("motion payload is damaged (a code beyond the range)")
                        symbol = bisect_right(sums, target) - 1 if sums else 0
                        if 0 < symbol < 2 * LAPLACE_LIMIT + 2:
                            start = sums[symbol]
                            code -= start * unit
                            span = (sums[symbol + 1] - start) * unit
                            value = symbol - LAPLACE_LIMIT - 1
                        else:  # raw bits or an escape: seldom
                            self._code, self._range, self._position = code, span, position
                            value = decode_laplace(self, width)
                            code, span, position = self._code, self._range, self._position
                        if value:
                            places.append(here)
                            values.append(value)
                    if span < top:
                        code, span, position = _refill(data, code, span, position)
                place = stop
        self._code, self._range, self._position = code, span, position
        return places, values

    def finish(self) -> None:
        """Check that the payload ends where the encoder would have ended it, neither before nor after."""
        if len(self._data) > self._position or self._position > len(self._data) + 4 + _MAX_TRIMMED:
            raise BitstreamError("motion payload has the wrong length")
        if self._data and self._data[-1] == 0:
            raise BitstreamError("motion payload ends in a byte that no encoder writes")

    def _narrow(self, offset: int, span: int) -> None:
        self._code, self._range, self._position = _refill(self._data, self._code - offset, span, self._position)


def _refill(data: bytes, code: int, span: int, position: int) -> tuple[int, int, int]:
    """Code, range and position once the range is wide enough again. Raises BitstreamError."""
    while span < _TOP:
        if position > len(data) + 4 + _MAX_TRIMMED:
            raise BitstreamError("motion payload is cut short")
        code = code << 8 | (data[position] if position < len(data) else 0)
        position += 1
        span <<= 8
    return code, span, position


_MAX_TRIMMED = 1100
"""Zero bytes that the encoder may have trimmed: never more than a message holds."""


def encode_laplace(coder: RangeEncoder, residual: int, width: int) -> None:
    """Code an integer with a Laplace table of width index `width` (0 ... MAX_WIDTH)."""
    if width >= WIDTHS:
        raw = (width - 24) >> 2
        shifted = residual + (1 << (raw - 1))
        low = shifted & ((1 << raw) - 1)
        residual = shifted >> raw
        width -= 4 * raw
    else:
        raw = low = 0
    sums = LAPLACE_TABLES[width]
    if -LAPLACE_LIMIT <= residual <= LAPLACE_LIMIT:
        symbol = residual + LAPLACE_LIMIT + 1
        coder.encode(sums[symbol], sums[symbol + 1])
    else:
        symbol = 0 if residual < 0 else 2 * LAPLACE_LIMIT + 2
        coder.encode(sums[symbol], sums[symbol + 1])
        excess = abs(residual) - LAPLACE_LIMIT  # >= 1, so its leading one need not be sent
        length = excess.bit_length()
        coder.encode_bits(length, ESCAPE_LENGTH_BITS)
        coder.encode_bits(excess & ((1 << (length - 1)) - 1), length - 1)
    if raw:
        coder.encode_bits(low, raw)


def decode_laplace(coder: RangeDecoder, width: int) -> int:
    """Inverse of `encode_laplace`. Raises BitstreamError."""
    raw = 0
    if width >= WIDTHS:
        raw = (width - 24) >> 2
        width -= 4 * raw
    symbol = coder.decode(LAPLACE_TABLES[width])
    if 0 < symbol < 2 * LAPLACE_LIMIT + 2:
        residual = symbol - LAPLACE_LIMIT - 1
    else:
        length = coder.decode_bits(ESCAPE_LENGTH_BITS)
        if not 1 <= length <= MAX_ESCAPE_BITS:
            raise BitstreamError("motion payload is damaged (an escape of impossible length)")
        magnitude = LAPLACE_LIMIT + ((1 << (length - 1)) | coder.decode_bits(length - 1))
        residual = -magnitude if symbol == 0 else magnitude
    if raw:
        residual = (residual << raw) + coder.decode_bits(raw) - (1 << (raw - 1))
    return residual


COST_UNIT = 256
"""Costs count 256ths of a bit, whole numbers, so that encoders in two languages choose alike."""


def symbol_cost(frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ideal code length of symbols with these frequencies of 65536, in 256ths of a bit."""
    cost: NDArray[np.int64] = np.rint(COST_UNIT * (TOTAL_BITS - np.log2(frequencies))).astype(np.int64)
    return cost


def _cost_table() -> NDArray[np.int64]:
    """Cost of each symbol, (WIDTHS, 2 * LAPLACE_LIMIT + 3); an escape counts 9 bits more."""
    sums = np.array(LAPLACE_TABLES, np.int64)
    cost = symbol_cost(sums[:, 1:] - sums[:, :-1])
    cost[:, [0, -1]] += COST_UNIT * (ESCAPE_LENGTH_BITS + 4)
    return cost


_COST = _cost_table()


def laplace_cost(residuals: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Approximate cost in 256ths of a bit of residuals at width indices (shapes broadcast). Encoders choose by it."""
    raw = np.maximum((widths - 24) >> 2, 0)
    half = np.where(raw > 0, 1 << np.maximum(raw - 1, 0), 0)
    high = np.clip((residuals + half) >> raw, -LAPLACE_LIMIT - 1, LAPLACE_LIMIT + 1)
    cost: NDArray[np.int64] = _COST[widths - 4 * raw, high + LAPLACE_LIMIT + 1] + COST_UNIT * raw
    return cost
