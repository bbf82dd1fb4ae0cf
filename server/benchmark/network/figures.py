"""From what was sent and what came to the figures of the report. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from server.benchmark.network.opus_fec import repeated_pieces

PIECE = 0.02
"""Seconds of sound that one SILK frame holds."""

OLDEST = 2.0
"""Seconds after which a packet that comes is another one with the same bytes."""

LATEST = 1.0
"""Seconds by which a receiver waits longer for what comes next; it conceals meanwhile. What is later is lost."""

HELD, GIVEN_BACK = 0.04, 0.1
"""Seconds that a receiver holds sound above the slowest packet lately, and seconds a second in which it comes back."""

LATELY = 1.0
"""Seconds."""


@dataclass(frozen=True)
class Spoken:
    """One packet of the voice as it left the encoder."""

    captured: float  # when its first sample was, seconds
    pieces: int  # of 20 ms
    payload: bytes


@dataclass(frozen=True)
class Heard:
    """20 ms at a viewer's ear."""

    captured: float  # of what belongs there
    came: float | None  # seconds after its capture that it could be played; None where the receiver conceals
    again: bool = False  # out of the in-band FEC of the packet after it


def heard(spoken: Sequence[Spoken], arrivals: Sequence[tuple[float, bytes]]) -> list[Heard]:
    """What a viewer hears while somebody speaks, as NetEq of WebRTC plays.

    `spoken`: in order; `arrivals`: (when, packet). A receiver holds sound for as long as its packets lately differ.
    What is later than that is waited for, and concealed meanwhile; from then on all is played later, which is given
    back slowly.
    """
    came = _arrived(spoken, arrivals)
    pieces: list[Heard] = []
    held: float | None = None  # seconds between capture and playing
    lately: deque[tuple[float, float]] = deque()
    for index, packet in enumerate(spoken):
        for piece, (age, again) in enumerate(_ages(spoken, index, came)):
            captured = packet.captured + piece * PIECE
            if age is None or (held is not None and age > held + LATEST):
                pieces.append(Heard(captured, None))
                continue
            held = age + HELD if held is None else held
            pieces += [Heard(captured, None)] * round((age - held) / PIECE)
            held = max(held, age)
            pieces.append(Heard(captured, age, again))
            lately.append((captured, age))
            while lately[0][0] < captured - LATELY:
                lately.popleft()
            held = max(held - GIVEN_BACK * PIECE, max(other for _, other in lately) + HELD)
    return pieces


def _ages(spoken: Sequence[Spoken], index: int, came: Mapping[int, float]) -> list[tuple[float | None, bool]]:
    """For each piece of a packet how old the packet is, or the one that holds it again, when it comes."""
    packet, at = spoken[index], came.get(index)
    if at is not None:
        return [(at - packet.captured, False)] * packet.pieces
    later = came.get(index + 1)
    if later is None:
        return [(None, False)] * packet.pieces
    follower = spoken[index + 1]
    again = repeated_pieces(follower.payload)
    adjoins = abs(follower.captured - packet.captured - packet.pieces * PIECE) < PIECE / 2
    if not adjoins or len(again) != packet.pieces:
        return [(None, False)] * packet.pieces
    return [(later - packet.captured, True) if repeated else (None, False) for repeated in again]


def _arrived(spoken: Sequence[Spoken], arrivals: Sequence[tuple[float, bytes]]) -> dict[int, float]:
    """When each packet came, by its place in `spoken`. Of equal ones, as near silence, the oldest is first."""
    places: dict[bytes, list[int]] = {}
    for index, packet in enumerate(spoken):
        places.setdefault(packet.payload, []).append(index)
    came: dict[int, float] = {}
    for at, payload in arrivals:
        for index in places.get(payload, ()):
            if index not in came and at - OLDEST <= spoken[index].captured <= at:
                came[index] = at
                break
    return came


def share_played(pieces: Sequence[Heard]) -> float:
    """Of what is heard, 0 to 1: concealed counts as lost."""
    return sum(piece.came is not None for piece in pieces) / len(pieces) if pieces else 0.0


def longest_silence(pieces: Sequence[Heard]) -> float:
    """Seconds: the longest run that is concealed."""
    longest = run = 0
    for piece in pieces:
        run = 0 if piece.came is not None else run + 1
        longest = max(longest, run)
    return longest * PIECE


def longest_gap(times: Sequence[float], begin: float, end: float) -> float:
    """Seconds: the longest time without an event between `begin` and `end`."""
    inside = [begin, *(time for time in times if begin <= time <= end), end]
    return max(after - before for before, after in pairwise(inside))


SETTLED = 3.0
"""Seconds. Later a sender tries now and then how much more its line carries."""


def settled(waits: Sequence[tuple[float, float]], since: float, bound: float) -> float | None:
    """Seconds after `since` from which on nothing waits longer than `bound` for `SETTLED` seconds; None for never."""
    begin = since
    for when, wait in waits:
        if when < since:
            continue
        if wait > bound:
            begin = when
        elif when - begin >= SETTLED:
            break
    else:
        return None
    return begin - since


def percentile(values: Sequence[float], share: float) -> float | None:
    """None of no values."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else None


def middle(values: Sequence[float]) -> float | None:
    """Median; None of no values."""
    return median(values) if values else None
