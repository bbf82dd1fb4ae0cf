"""Which frames are aligned to the source image. Pure: takes the time, in seconds."""

from __future__ import annotations

ALIGN_EVERY = 0.02
"""Seconds between alignment passes at least: at 25 or 30 frames a second each frame, where a pass is cheap."""

ALIGN_SHARE = 0.4
"""Of the time, that alignment may take: it costs twice what extraction does, and the next frame waits for it."""

WAIT = 0.03
"""Seconds that a frame waits for its own alignment at most: it usually waits longer for a packet of the voice."""

_LATE = 0.08
"""Seconds that count at most: time in which nothing was to be done is not made up for."""

_ROUNDING = 1e-6
"""Seconds: a frame that comes just when the next pass is due is not put off because of rounding."""


class AlignmentRhythm:
    """Lets a pass through when those before it are long enough ago, for what they cost.

    Frames come when they come: what a pass is late by counts for the next, so that the share is met between them.
    """

    def __init__(self) -> None:
        self._next: float | None = None
        self._last = 0.0  # when it was let through
        self._cost: float | None = None  # of the last pass

    @property
    def quick(self) -> bool:
        """Whether a frame is aligned before it is sent: the last pass took no longer than one may wait."""
        return self._cost is not None and self._cost <= WAIT

    def due(self, captured: float) -> bool:
        """Whether the frame captured then is to be aligned."""
        if self._next is None:
            return True
        return captured >= max(self._next, self._last + ALIGN_EVERY) - _ROUNDING

    def took(self, captured: float, cost: float) -> None:
        """That frame was aligned, which took `cost` seconds."""
        self._cost = cost
        earned = cost / ALIGN_SHARE
        due = captured if self._next is None else max(self._next, captured - min(earned, _LATE))
        self._next, self._last = due + earned, captured
