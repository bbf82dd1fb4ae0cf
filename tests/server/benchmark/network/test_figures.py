"""What a viewer hears, from what was sent and what came."""

from __future__ import annotations

import pytest

from server.benchmark.network.figures import Spoken, heard, longest_gap, longest_silence, settled, share_played

PACKETS = [Spoken(0.06 * i, 3, bytes([0x58, 0, i])) for i in range(50)]  # SILK, 60 ms, nothing held again


def came(
    delay: float = 0.1, without: tuple[int, ...] = (), later: float = 0.0, since: int = 0
) -> list[tuple[float, bytes]]:
    return [
        (packet.captured + delay + (later if i >= since else 0.0), packet.payload)
        for i, packet in enumerate(PACKETS)
        if i not in without
    ]


def test_all_that_comes_in_time_is_played() -> None:
    assert share_played(heard(PACKETS, came())) == 1.0


def test_what_is_lost_is_concealed_for_as_long() -> None:
    pieces = heard(PACKETS, came(without=(10, 11, 30)))
    assert share_played(pieces) == pytest.approx(1 - 9 / 150)
    assert longest_silence(pieces) == pytest.approx(0.12)


def test_a_line_that_becomes_slower_costs_the_difference_once() -> None:
    pieces = heard(PACKETS, came(later=0.3, since=20))
    concealed = sum(piece.came is None for piece in pieces)
    assert 0.2 <= 0.02 * concealed <= 0.3
    assert pieces[-1].came == pytest.approx(0.4)


def test_equal_packets_are_told_apart_by_time() -> None:
    equal = [Spoken(0.06 * i, 3, b"\x58\x00") for i in range(5)]
    pieces = heard(equal, [(packet.captured + 0.1, packet.payload) for packet in equal])
    assert [piece.came for piece in pieces] == pytest.approx([0.1] * 15)


def test_gaps_and_settling() -> None:
    assert longest_gap([1.0, 1.1, 1.5, 1.6], 0.9, 1.7) == pytest.approx(0.4)
    waits = [(0.1 * i, 0.5 if i < 12 or i == 45 else 0.0) for i in range(50)]
    assert settled(waits, 0.0, 0.2) == pytest.approx(1.1)
    assert settled([(0.1 * i, 0.5) for i in range(40)], 0.0, 0.2) is None
