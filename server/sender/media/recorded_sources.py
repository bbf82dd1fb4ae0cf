"""Which source images of a recording the receiver holds: a recording has up to sixteen, the receiver four places.

Pure. The image of the frame that is shown and those that follow are brought; the one that was shown before keeps its
place, because its last frames may still be on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from server.sender.media.samples import MAX_SOURCES

AHEAD = 2
"""Changes of the source image that are prepared: with the present and the last one, all places are taken."""


class Placed(NamedTuple):
    """An image to bring to a place at the receiver."""

    place: int
    source: int


class RecordedSources:
    """Told which frame is shown and which images have arrived; says which to bring."""

    def __init__(self, driven: Sequence[int]) -> None:
        """`driven`: the source image of each frame; after the last one the first one follows again."""
        runs = [(source, len(list(frames))) for source, frames in groupby(driven)]
        self._runs = [source for source, _ in runs]
        self._run_of = [number for number, (_, length) in enumerate(runs) for _ in range(length)]
        self._now = 0  # run
        self._before: int | None = None  # source that was shown before
        self._places: dict[int, int] = {}  # by source: on its way, or arrived
        self._arrived: set[int] = set()  # places

    def show(self, frame: int) -> list[Placed]:
        """Frame `frame` is next; images to bring."""
        run = self._run_of[frame]
        if run != self._now:
            left, self._now = self._runs[self._now], run
            if self._places.get(left) in self._arrived:
                self._before = left
        return self._bring()

    def arrived(self, place: int) -> list[Placed]:
        """The receiver has the image that was brought to `place`, or has it again; further images to bring."""
        self._arrived.add(place)
        return self._bring()

    def place(self, frame: int) -> int | None:
        """Where the image of a frame is; None while it is not there."""
        place = self._places.get(self._runs[self._run_of[frame]])
        return place if place in self._arrived else None

    def _bring(self) -> list[Placed]:
        wanted = list(dict.fromkeys(self._runs[(self._now + i) % len(self._runs)] for i in range(AHEAD + 1)))
        brought = []
        for source in wanted:
            if source in self._places:
                continue
            place = self._free(kept={*wanted, self._before})
            if place is None:
                break
            self._places[source] = place
            self._arrived.discard(place)
            brought.append(Placed(place, source))
        return brought

    def _free(self, kept: set[int | None]) -> int | None:
        """A place that is empty or whose image is not needed soon; never one to which an image is on its way."""
        holders = {place: source for source, place in self._places.items()}
        for place in range(MAX_SOURCES):
            if place not in holders:
                return place
        for place, source in holders.items():
            if source not in kept and place in self._arrived:
                del self._places[source]
                return place
        return None
