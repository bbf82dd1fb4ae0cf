"""Which frames of a call become windows: those whose mouth or eyes the source image and the windows sent cover least.

Pure: takes shapes one by one with their times, in seconds; keeps no pictures. A file is searched over its whole length
(`model/source/window_search.py`); a call knows the last minute, and a frame can be taken only now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.source.mouth_choice import REMEMBERED
from model.window import EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS
from model.window.eyes import eye_distance
from model.window.mouth import shape_distance

LOOK_EVERY = 0.1
"""Seconds between two shapes that are looked at."""

LEAST_REMEMBERED = 6
"""Shapes that must be known before the first window is chosen."""

BETWEEN = 0.2
"""Seconds between two windows, of some 300 bytes each (docs/experiments/mouth-windows.md)."""

BETWEEN_REPLACED = 5.0
"""Seconds between two windows once all slots are taken."""

AS_GOOD = 0.8
"""Share of the best gain of late that is worth taking; that best fades by `_FADING` a look, or nothing would follow."""

SHARP_ENOUGH = 0.8
"""Sharpness as a share of the source image's from which a frame is sharp enough."""

MOST_BYTES = 30_000
"""Bytes of windows in `SPAN` seconds: 4 kbit/s."""

SPAN = 60.0

_FADING = 0.99


@dataclass(frozen=True)
class Feature:
    """What a window shows: a mouth, (10, 2), or both eyes, (2, 5, 2), in coordinates of their corners."""

    distance: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]  # of one from N: (N,)
    slots: range
    least_gain: float  # by how much a window must bring the remembered shapes nearer to their pictures, in the mean
    least_replacing_gain: float  # by how much more than it loses, where it takes the place of another


def _both_eyes(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = eye_distance(a, b).mean(-1)
    return distance


MOUTH = Feature(shape_distance, MOUTH_SLOTS, 0.002, 0.003)
EYES = Feature(_both_eyes, EYE_SLOTS, 0.004, 0.006)


class Budget:
    """Bytes of all windows of one sender."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, int]] = deque()  # time and bytes

    def affords(self, now: float) -> bool:
        """Whether one more may be sent."""
        while self._sent and self._sent[0][0] <= now - SPAN:
            self._sent.popleft()
        return sum(size for _, size in self._sent) + MAX_WINDOW_BYTES <= MOST_BYTES

    def spend(self, size: int, now: float) -> None:
        """`size` bytes are on their way."""
        self._sent.append((now, size))


class WindowChoice:
    """The windows of one feature of one sender."""

    def __init__(self, feature: Feature, budget: Budget) -> None:
        """`budget`: what it shares with the other feature."""
        self._feature, self._budget = feature, budget
        self._seen: deque[NDArray[np.float32]] = deque(maxlen=REMEMBERED)
        self._windows: list[NDArray[np.float32]] = []  # by slot
        self._away: deque[NDArray[np.float32]] = deque(maxlen=REMEMBERED)  # of each shape seen, (K,) from the windows
        self._next_look = -np.inf
        self._next_window = -np.inf
        self._best = 0.0

    def looks(self, now: float) -> bool:
        """Whether `update` would look at a frame: between two looks nothing about it needs to be worked out."""
        return now >= self._next_look

    def update(self, shape: NDArray[np.float32], source: NDArray[np.float32], clear: bool, now: float) -> int | None:
        """Takes every frame's shape; returns the slot for which a window should be cut from this frame.

        source  shape of the present source image
        clear   whether a window can be cut here
        The caller answers with `sent`, or leaves it.
        """
        if not self.looks(now):
            return None
        self._next_look = now + LOOK_EVERY
        self._seen.append(shape)
        self._away.append(self._from_windows(shape))
        self._best *= _FADING
        if not clear or len(self._seen) < LEAST_REMEMBERED:
            return None
        slot, gain = self._gain(shape, source)
        good = gain >= max(AS_GOOD * self._best, self._least_gain(slot))
        self._best = max(self._best, gain)
        wanted = good and now >= self._next_window and self._budget.affords(now)
        return self._feature.slots[slot] if wanted else None

    def sent(self, slot: int, shape: NDArray[np.float32], size: int, now: float) -> None:
        """The window that `update` asked for is on its way, `size` bytes."""
        place = self._feature.slots.index(slot)
        self._windows[place : place + 1] = [shape]
        if self._seen:
            row = self._feature.distance(shape, np.stack(self._seen))
            rows = [np.r_[away[:place], own, away[place + 1 :]] for away, own in zip(self._away, row, strict=True)]
            self._away = deque(rows, REMEMBERED)
        self._budget.spend(size, now)
        self._next_window = now + (BETWEEN if len(self._windows) < len(self._feature.slots) else BETWEEN_REPLACED)
        self._best = 0.0

    def cut(self) -> None:
        """The frames from here on show something else: choose anew, within the same budget of bytes."""
        self._seen.clear()
        self._away.clear()
        self._windows.clear()
        self._next_window = -np.inf
        self._best = 0.0

    def _from_windows(self, shape: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._feature.distance(np.stack(self._windows), shape) if self._windows else np.zeros(0, np.float32)

    def _gain(self, shape: NDArray[np.float32], source: NDArray[np.float32]) -> tuple[int, float]:
        """For which slot a window of this shape would be best, and what it gains there."""
        seen = np.stack(self._seen)
        own = self._feature.distance(shape, seen)  # (N,)
        present = np.concatenate([self._feature.distance(source, seen)[None], np.stack(self._away, 1)])  # (1 + K, N)
        away = present.min(0)
        if len(self._windows) < len(self._feature.slots):
            return len(self._windows), float(np.maximum(away - own, 0).mean())
        # Without the nearest picture the second nearest is.
        slots, second = np.arange(1, len(present)), np.partition(present, 1, 0)[1]
        without = np.where(present.argmin(0) == slots[:, None], second, away)  # (K, N)
        gains = (away - np.minimum(without, own)).mean(1)
        return int(gains.argmax()), float(gains.max())

    def _least_gain(self, place: int) -> float:
        return self._feature.least_gain if place == len(self._windows) else self._feature.least_replacing_gain
