"""Range coder and Laplace tables: round trip, size, strictness."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bench_codec import PlainRangeDecoder
from model.codec.entropy import (
    COST_UNIT,
    LAPLACE_TABLES,
    LEAP,
    MAX_WIDTH,
    TOTAL,
    WIDTHS,
    RangeDecoder,
    RangeEncoder,
    cumulative,
    decode_laplace,
    encode_laplace,
    laplace_cost,
    laplace_runs,
    zero_leap,
)
from model.errors import BitstreamError

residuals = st.one_of(st.integers(-3, 3), st.integers(-65534, 65534))
widths = st.integers(0, MAX_WIDTH)


@given(st.lists(st.tuples(residuals, widths), max_size=300))
def test_laplace_round_trip(symbols: list[tuple[int, int]]) -> None:
    encoder = RangeEncoder()
    for residual, width in symbols:
        encode_laplace(encoder, residual, width)
    decoder = RangeDecoder(encoder.finish())
    assert [decode_laplace(decoder, width) for _, width in symbols] == [residual for residual, _ in symbols]
    decoder.finish()


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 16)), max_size=300))
def test_raw_bits_round_trip(symbols: list[tuple[int, int]]) -> None:
    encoder = RangeEncoder()
    symbols = [(value & ((1 << count) - 1), count) for value, count in symbols]
    for value, count in symbols:
        encoder.encode_bits(value, count)
    decoder = RangeDecoder(encoder.finish())
    assert [decoder.decode_bits(count) for _, count in symbols] == [value for value, _ in symbols]
    decoder.finish()


@given(st.lists(st.integers(0, 2), max_size=2000), st.sampled_from([(65534, 1, 1), (1, 65534, 1), (1, 1, 65534)]))
def test_carry_runs(symbols: list[int], frequencies: tuple[int, int, int]) -> None:
    """Extreme frequencies make long runs of 0xFF bytes, through which a carry must travel."""
    sums = cumulative(list(frequencies))
    encoder = RangeEncoder()
    for symbol in symbols:
        encoder.encode(sums[symbol], sums[symbol + 1])
    decoder = RangeDecoder(encoder.finish())
    assert [decoder.decode(sums) for _ in symbols] == symbols


def test_tables_are_complete_and_symmetric() -> None:
    for sums in LAPLACE_TABLES:
        frequencies = np.diff(sums)
        assert sums[0] == 0
        assert sums[-1] == TOTAL
        assert (frequencies >= 1).all()
        assert (frequencies == frequencies[::-1]).all()


def test_size_is_close_to_the_ideal() -> None:
    """Within a byte and 1 % of the ideal code length, for a source that fits its table."""
    generator = np.random.default_rng(1)
    values = np.rint(generator.laplace(scale=2.0, size=4000)).astype(np.int64)  # width index 24
    encoder = RangeEncoder()
    for value in values.tolist():
        encode_laplace(encoder, value, 24)
    ideal = float(laplace_cost(values, np.array(24)).sum()) / COST_UNIT / 8
    assert ideal <= len(encoder.finish()) + 1 <= 1.01 * ideal + 2


def test_nothing_costs_nothing() -> None:
    """A hundred coefficients that do not move fit into one byte."""
    encoder = RangeEncoder()
    for _ in range(100):
        encode_laplace(encoder, 0, 2)
    assert len(encoder.finish()) <= 1


def test_bytes_after_the_end_are_refused() -> None:
    encoder = RangeEncoder()
    encode_laplace(encoder, 5, 20)
    decoder = RangeDecoder(encoder.finish() + b"\x01\x02\x03\x04\x05")
    assert decode_laplace(decoder, 20) == 5
    with pytest.raises(BitstreamError):
        decoder.finish()


def test_reading_on_without_bytes_ends() -> None:
    decoder = RangeDecoder(b"")

    def read_on() -> None:
        for _ in range(100_000):
            decoder.decode_bits(16)

    with pytest.raises(BitstreamError):
        read_on()


mostly_zero = st.one_of(st.just(0), st.just(0), residuals)
runs_of_residuals = st.lists(
    st.tuples(st.integers(0, MAX_WIDTH), st.lists(mostly_zero, min_size=1, max_size=40)),
    max_size=12,
)


@given(runs_of_residuals)
def test_many_residuals_are_the_bits_of_one_after_the_other(runs: list[tuple[int, list[int]]]) -> None:
    symbols = [(residual, width) for width, run in runs for residual in run]
    one, many = RangeEncoder(), RangeEncoder()
    for residual, width in symbols:
        encode_laplace(one, residual, width)
    tables = laplace_runs([width for _, width in symbols])
    many.encode_residuals([residual for residual, _ in symbols], tables)
    data = many.finish()
    assert data == one.finish()
    decoder = RangeDecoder(data)
    places, values = decoder.decode_residuals(tables)
    assert dict(zip(places, values, strict=True)) == {at: r for at, (r, _) in enumerate(symbols) if r}
    decoder.finish()


@pytest.mark.parametrize("width", [width for width in range(WIDTHS) if zero_leap(width)])
def test_leaps_over_zeros_end_where_single_steps_do(width: int) -> None:
    """Payloads of noise: each is read to its end or its damage both ways, for every width that has a table."""
    chance = random.Random(width)
    runs = laplace_runs([width] * (3 * LEAP + 5))
    for _ in range(200):
        first = chance.choice([b"\0", b"\0\0\0", b"\0\x10", b"\xff\xff", b""])
        data = first + chance.randbytes(chance.randint(0, 12))
        ends = []
        for reader in (RangeDecoder, PlainRangeDecoder):
            decoder = reader(data)
            found: object
            try:
                found = [decoder.decode_residuals(runs) for _ in range(20)]
            except BitstreamError as error:
                found = str(error)
            ends.append((found, isinstance(found, str) or vars(decoder)))
        assert ends[0] == ends[1]
