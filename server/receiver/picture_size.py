"""How large a publication's pictures are: sharp ones where the engine has the time, the networks' own elsewhere.

    small --(enough spare time for a while)--> sharp --(too little for a second)--> small, and a longer while
                                               sharp --(others would not get what they were promised)--> small

Pure: takes the time and what the engine has left. One size for all viewers of a publication: pictures are rendered and
encoded once. An encoder that is given another size begins anew with a keyframe, so viewers see no break.
"""

from __future__ import annotations

ENOUGH = 0.35
"""Share of its time that the engine must have left before pictures become sharp. They take a seventh longer."""

SHORT = 0.1
"""Share of its time below which they cease to be."""

PATIENCE = 3.0
"""Seconds for which there must be enough, at first; doubled each time that it turned out not to be."""

MOST_PATIENCE = 60.0
_SHORT_FOR = 1.0  # seconds with too little, after which pictures are small again
_PROVEN = 30.0  # seconds of sharp pictures after which patience is what it was


class SpareTime:
    """What share of its time an engine has left, from the seconds that it has worked in all."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def update(self, now: float, busy: float) -> float | None:
        """Share in [0, 1] since the last call; None in the first. `now` and `busy`, work since the start: seconds."""
        last, self._last = self._last, (now, busy)
        if last is None or now <= last[0]:
            return None
        return min(1.0, max(0.0, 1.0 - (busy - last[1]) / (now - last[0])))


class PictureSize:
    """The side of one publication's pictures, pixels."""

    def __init__(self, sizes: tuple[int, ...], patience: float = PATIENCE) -> None:
        """`sizes`: ascending, of which the first and the last are used.

        patience: seconds; publications that become sharp at one time would all find that it was too much
        """
        self._sizes = sizes
        self._least_patience = self._patience = patience
        self._since: float | None = None  # when what would change the size began
        self._sharp_at: float | None = None  # since when pictures are sharp

    @property
    def size(self) -> int:
        """The present one."""
        return self._sizes[0 if self._sharp_at is None else -1]

    def update(self, now: float, spare: float | None, detailed: bool, fits: bool = True, always: bool = False) -> int:
        """The size from `now` on, seconds.

        spare: share of its time that the engine has left; None: not known
        detailed: whether the source image holds more than the networks see
        fits: whether everybody gets what was promised while pictures are sharp
        always: sharp whatever the engine has left while they fit, as on a GPU
        """
        if not detailed or not fits or len(self._sizes) == 1:
            self._sharp_at = self._since = None
        elif always:
            self._sharp_at = now if self._sharp_at is None else self._sharp_at
        elif self._sharp_at is None:
            if self._lasted(now, spare is not None and spare >= ENOUGH) >= self._patience:
                self._sharp_at, self._since = now, None
        else:
            if now - self._sharp_at >= _PROVEN:
                self._patience = self._least_patience
            if self._lasted(now, spare is not None and spare < SHORT) >= _SHORT_FOR:
                self._sharp_at = self._since = None
                self._patience = min(2 * self._patience, MOST_PATIENCE)
        return self.size

    def _lasted(self, now: float, holds: bool) -> float:
        """Seconds for which a condition has held; negative where it does not."""
        if not holds:
            self._since = None
            return -1.0
        self._since = now if self._since is None else self._since
        return now - self._since
