"""Which mouths of a call become mouth windows: those that the source image and the windows sent cover least.

Pure: takes mouth coordinates one by one with their times, in seconds; keeps no pictures. A file is searched over its
whole length (`model/source/mouth_choice.py`); a call knows the last minute, and a frame can be taken only now.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from model.mouth_window import MAX_WINDOW_BYTES, MAX_WINDOWS, shape_distance
from model.source.mouth_choice import REMEMBERED

LOOK_EVERY = 0.1
"""Seconds between two mouths that are looked at."""

LEAST_REMEMBERED = 6
"""Mouths that must be known before the first window is chosen."""

BETWEEN = 0.35
"""Seconds between two windows."""

BETWEEN_REPLACED = 5.0
"""Seconds between two windows once all slots are taken."""

LEAST_GAIN = 0.002
"""By how much a window must bring the remembered mouths nearer to their pictures, in the mean."""

LEAST_REPLACING_GAIN = 0.003
"""By how much more than it loses, where it takes the place of another."""

AS_GOOD = 0.8
"""Share of the best gain of late that is worth taking; that best fades by `_FADING` a look, or nothing would follow."""

SHARP_ENOUGH = 0.8
"""Sharpness as a share of the source image's from which a frame is sharp enough."""

MOST_BYTES = 30_000
"""Bytes of windows in `SPAN` seconds: 4 kbit/s."""

SPAN = 60.0

_FADING = 0.99


class WindowChoice:
    """The mouth windows of one sender."""

    def __init__(self) -> None:
        self._seen: deque[NDArray[np.float32]] = deque(maxlen=REMEMBERED)
        self._windows: list[NDArray[np.float32]] = []  # (10, 2) by slot
        self._sent: deque[tuple[float, int]] = deque()  # time and bytes
        self._next_look = -np.inf
        self._next_window = -np.inf
        self._best = 0.0

    def looks(self, now: float) -> bool:
        """Whether `update` would look at a frame: between two looks nothing about it needs to be worked out."""
        return now >= self._next_look

    def update(self, shape: NDArray[np.float32], source: NDArray[np.float32], clear: bool, now: float) -> int | None:
        """Takes every frame's mouth (10, 2); returns the slot for which a window should be cut from this frame.

        source  (10, 2) mouth of the present source image
        clear   whether a window can be cut here
        The caller answers with `sent`, or leaves it.
        """
        if not self.looks(now):
            return None
        self._next_look = now + LOOK_EVERY
        self._seen.append(shape)
        self._best *= _FADING
        if not clear or len(self._seen) < LEAST_REMEMBERED:
            return None
        slot, gain = self._gain(shape, source)
        good = gain >= max(AS_GOOD * self._best, LEAST_GAIN if slot == len(self._windows) else LEAST_REPLACING_GAIN)
        self._best = max(self._best, gain)
        return slot if good and now >= self._next_window and self._affordable(now) else None

    def sent(self, slot: int, shape: NDArray[np.float32], size: int, now: float) -> None:
        """The window that `update` asked for is on its way, `size` bytes."""
        self._windows[slot : slot + 1] = [shape]
        self._sent.append((now, size))
        self._next_window = now + (BETWEEN if len(self._windows) < MAX_WINDOWS else BETWEEN_REPLACED)
        self._best = 0.0

    def cut(self) -> None:
        """The frames from here on show something else: choose anew, within the same budget of bytes."""
        self._seen.clear()
        self._windows.clear()
        self._next_window = -np.inf
        self._best = 0.0

    def _gain(self, shape: NDArray[np.float32], source: NDArray[np.float32]) -> tuple[int, float]:
        """For which slot a window of this shape would be best, and what it gains there."""
        seen = np.stack(self._seen)
        own = shape_distance(shape, seen)  # (N,)
        present = [shape_distance(source, seen), *(shape_distance(window, seen) for window in self._windows)]
        away = np.min(present, 0)
        if len(self._windows) < MAX_WINDOWS:
            return len(self._windows), float(np.maximum(away - own, 0).mean())
        gains = [
            float((away - np.minimum(np.min(present[:slot] + present[slot + 1 :], 0), own)).mean())
            for slot in range(1, len(present))
        ]
        return int(np.argmax(gains)), max(gains)

    def _affordable(self, now: float) -> bool:
        while self._sent and self._sent[0][0] <= now - SPAN:
            self._sent.popleft()
        return sum(size for _, size in self._sent) + MAX_WINDOW_BYTES <= MOST_BYTES
