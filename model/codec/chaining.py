"""Which messages may be predicted from the one before them, whether that has arrived or not.

A frame predicted from its neighbour takes less than half the bits of one predicted from the newest acknowledged
frame, of which a call hears a quarter of a second late. But what is predicted from a lost message is lost with it. So
on a line that has lost nothing for a while every other message is predicted from the one before, and those between
from what is acknowledged: there ends what a lost message broke (docs/experiments/chained-messages.md). Counts frames,
knows no time.
"""

from __future__ import annotations

from collections import deque

from model.codec.history import HISTORY
from model.codec.packet import sequence_distance

TRUSTED_AFTER, TRUSTED_AGAIN_AFTER = 10, 250
"""Frames without a loss after which a line is trusted: at first, and after a loss."""

ANSWERED = 24
"""Frames since the newest acknowledged one, within which what is known of the line is not out of date."""


class Chaining:
    """Of one encoder."""

    def __init__(self) -> None:
        self._frames = 0
        self._trusted_from = TRUSTED_AFTER
        self._just_chained = False
        self._chained: deque[int] = deque()  # their first frames

    def allows(self, unanswered: int) -> bool:
        """Whether the next message may be chained; `unanswered`: frames since the newest acknowledged one."""
        return self._frames >= self._trusted_from and not self._just_chained and unanswered <= ANSWERED

    def sent(self, sequence: int, frames: int, chained: bool) -> None:
        """A message of so many frames, the first of them `sequence`, was made."""
        self._frames += frames
        self._just_chained = chained
        if chained:
            self._chained.append(sequence)
        while self._chained and sequence_distance(sequence, self._chained[0]) > HISTORY:
            self._chained.popleft()

    def lost(self) -> None:
        """Something did not arrive."""
        self._trusted_from = self._frames + TRUSTED_AGAIN_AFTER

    @property
    def latest(self) -> tuple[int, ...]:
        """First frames of the latest chained messages, the oldest first."""
        return tuple(self._chained)

    def is_chained(self, sequence: int) -> bool:
        """Whether the message that begins with this frame was chained: what it lacks may be the one before."""
        return sequence in self._chained
