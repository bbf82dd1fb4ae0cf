"""Which frames are aligned to the source image. Pure: takes the time, in seconds."""

from __future__ import annotations

ALIGN_EVERY = 0.06
"""Seconds between alignment passes at least: at 25 frames a second every other frame. What is found lasts: background,
body and the extractor's errors move slowly."""

ALIGN_SHARE = 0.25
"""Of the time, that alignment may take at most: it costs several times extraction, and the next frame waits for it."""

WAIT = 0.03
"""Seconds that a frame waits for its own alignment at most: it usually waits longer for a packet of the voice."""

_ROUNDING = 1e-6
"""Seconds: a frame that comes just when the next pass is due is not put off because of rounding."""


class AlignmentRhythm:
    """Lets a pass through when the last one is long enough ago, for what it cost."""

    def __init__(self) -> None:
        self._next: float | None = None
        self._cost: float | None = None  # of the last pass

    @property
    def quick(self) -> bool:
        """Whether a frame is aligned before it is sent: the last pass took no longer than one may wait."""
        return self._cost is not None and self._cost <= WAIT

    def due(self, captured: float) -> bool:
        """Whether the frame captured then is to be aligned."""
        return self._next is None or captured >= self._next - _ROUNDING

    def took(self, captured: float, cost: float) -> None:
        """That frame was aligned, which took `cost` seconds."""
        self._cost = cost
        self._next = captured + max(ALIGN_EVERY, cost / ALIGN_SHARE)
