"""Numbers of one outgoing RTP stream that is put together from several: continuous over every change. Pure.

A viewer has one stream of one SSRC, whatever it is made of: packets of a camera, of the camera that replaced it, or
of the server's own encoder. Within one of these, sequence numbers and timestamps keep their distances, so gaps and
pauses stay what they were (RFC 3550 section 5.1). Where another begins it follows on the one before.
"""

from __future__ import annotations

import random

_16, _32 = 1 << 16, 1 << 32


def newer(a: int, b: int) -> bool:
    """Whether sequence number a comes after b, modulo 2^16 (RFC 1982)."""
    return 0 < (a - b) % _16 < _16 // 2


def random_numbers() -> tuple[int, int]:
    """(sequence number, timestamp) for a stream to begin with (RFC 3550 section 5.1).

    The first is below the half, so that the first wraparound is no concern of SRTP's.
    """
    return random.randrange(_16 // 2), random.randrange(_32)


class RtpNumbers:
    """Maps the numbers of what comes in to those of what goes out."""

    def __init__(self, clock_rate: int, sequence: int, timestamp: int) -> None:
        """`sequence` and `timestamp`: of the first packet that will go out."""
        self._clock_rate = clock_rate
        self._next = sequence  # after the highest that went out
        self._timestamp = timestamp  # of the highest that went out
        self._at: float | None = None  # when that was, seconds
        self._sequence_offset = 0
        self._timestamp_offset = 0

    def restart(self, sequence: int, timestamp: int, now: float) -> None:
        """What comes from now on begins with these numbers and follows on what went out; `now` in seconds."""
        self._sequence_offset = (self._next - sequence) % _16
        elapsed = 0 if self._at is None else max(round((now - self._at) * self._clock_rate), 1)
        self._timestamp_offset = (self._timestamp + elapsed - timestamp) % _32

    def outgoing(self, sequence: int, timestamp: int, now: float) -> tuple[int, int]:
        """(sequence number, timestamp) to send a packet under, which may be a late one."""
        sequence = (sequence + self._sequence_offset) % _16
        timestamp = (timestamp + self._timestamp_offset) % _32
        if sequence == self._next or newer(sequence, self._next):
            self._next, self._timestamp, self._at = (sequence + 1) % _16, timestamp, now
        return sequence, timestamp
