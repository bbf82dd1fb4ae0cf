"""The way back from a held motion: after a gap, motion leads over to what plays instead of jumping there. Pure."""

from __future__ import annotations

from model.motion import Motion, interpolate


class GapEasing:
    """Follows what is shown; takes the time."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long the way back takes."""
        self._seconds = seconds
        self._shown: Motion | None = None
        self._held: Motion | None = None  # where the next way back begins
        self._from: Motion | None = None  # where the present one began
        self._began = 0.0

    def hold(self) -> None:
        """What is shown now stays until something plays again."""
        self._held, self._from = self._shown, None

    def show(self, target: Motion, now: float, holding: bool) -> Motion:
        """The motion to show in place of `target` at `now`, seconds. `holding`: nothing new has come to play."""
        motion = self._shown = self._eased(target, now, holding)
        return motion

    def _eased(self, target: Motion, now: float, holding: bool) -> Motion:
        if holding:
            self._held = self._shown
        elif self._held is not None:
            self._from, self._began, self._held = self._held, now, None
        if self._from is None:
            return target
        progress = (now - self._began) / self._seconds
        if progress >= 1.0:
            self._from = None
            return target
        return interpolate(self._from, target, progress * progress * (3.0 - 2.0 * progress))
