"""Which picture is which: RTP timestamps that went to one viewer, with the capture time of what they show. Pure."""

from __future__ import annotations

from collections import deque

KEPT = 64
"""About two seconds of pictures: whoever asks once a second misses none."""


class SentFrames:
    """The frames that one viewer was sent lately. Frames whose capture time is not known are left out."""

    def __init__(self, kept: int = KEPT) -> None:
        self._frames: deque[tuple[int, float]] = deque(maxlen=kept)

    def add(self, rtp_timestamp: int, captured: float | None) -> None:
        """A frame went out under this timestamp (uint32); captured: seconds."""
        if captured is not None:
            self._frames.append((rtp_timestamp, captured))

    def take(self) -> list[tuple[int, float]]:
        """(RTP timestamp, capture time in seconds) of the frames since this was asked last, at most `kept`."""
        taken = list(self._frames)
        self._frames.clear()
        return taken
