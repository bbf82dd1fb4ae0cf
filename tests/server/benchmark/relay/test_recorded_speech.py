"""What a recording said, from what came of it."""

from __future__ import annotations

import pytest

from server.benchmark.network.figures import heard, longest_silence, share_played
from server.benchmark.relay.recorded_speech import recorded_speech
from server.sender.media.sound import SoundPacket

ROUND = 3.0
PACKETS = [SoundPacket(bytes([0x78, 0, i]), 2880 * i - 300) for i in range(50)]  # one more would go beyond the round
SILENT = SoundPacket(b"\x78\x01\x02", 2880 * 50 - 300, 2880)


def came(began: float, count: int, delay: float, without: tuple[int, ...] = ()) -> list[tuple[float, bytes]]:
    """Arrivals of so many packets, from the first on, of one round after the other."""
    return [
        (began + ROUND * (i // 50) + PACKETS[i % 50].start / 48_000 + delay + 0.01 * (i % 3), PACKETS[i % 50].data)
        for i in range(count)
        if i not in without
    ]


@pytest.mark.parametrize("first", [0, 30])
def test_what_was_lost_was_said_all_the_same(first: int) -> None:
    lost = (40, 41, 99)
    arrivals = came(100.0, 120, 0.3, (*range(first), *lost))
    said = recorded_speech([*PACKETS, SILENT], ROUND, arrivals, until=arrivals[-1][0])
    pieces = [piece for piece in heard(said, arrivals) if piece.captured >= arrivals[0][0] - 0.001]
    assert sum(piece.came is None for piece in pieces) == 9
    assert longest_silence(pieces) == pytest.approx(0.12)
    assert share_played(pieces) == pytest.approx(1 - 9 / len(pieces))
    assert said[0].captured < arrivals[0][0]


def test_what_comes_twice_in_a_round_tells_no_time() -> None:
    equal = [SoundPacket(b"\x78\x00", 2880 * i) for i in range(50)]
    assert recorded_speech(equal, ROUND, [(1.0, b"\x78\x00")], until=2.0) == []
    assert recorded_speech([], ROUND, [(1.0, b"\x78\x00")], until=2.0) == []
