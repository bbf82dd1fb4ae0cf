"""How source images come about: choosing the first, offering it, covering what follows, offering more.

    choosing --offer--> offered --taken--> covering --offer--> covering, one more offered --taken or refused--> covering
        ^------------refused---'                |
        '-----------------a cut-----------------'

After a cut the sources of before are another picture's: no frame uses them again. The receiver has few places, so the
new ones take those that were used longest ago: frames of before may still be on their way to be shown.

Pure: takes frames, cuts and answers one by one, with the time in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from model.errors import VisavisError
from model.motion import Motion
from server.rate_limit import RateLimit
from server.sender.media.samples import MAX_SOURCES
from server.sender.media.source_choice import Candidate, EnrolledSource, FirstChoice, SourceCover

OFFERS_PER_MINUTE, OFFERS_AT_ONCE = 24.0, 8
"""Source images offered at most, within what a receiver takes (30 and 10): a film may cut as often as it likes."""


class _Offer(NamedTuple):
    place: int
    source: EnrolledSource


class SourceSelection:
    """The sources of one sender; of one scene at most one is offered at a time."""

    def __init__(self, *, single: bool = False) -> None:
        """`single`: there is one picture and no other (an avatar's)."""
        self._single = single
        self._choice: FirstChoice | None = FirstChoice()
        self._cover: SourceCover | None = None
        self._places: list[int] = []  # of the cover's sources at the receiver, in the cover's order
        self._oldest = list(range(MAX_SOURCES))  # all places, the one used longest ago first
        self._offered: _Offer | None = None  # chosen, and not yet with the receiver
        self._unanswered: set[int] = set()  # places on the way to which there is a picture, of this scene or before
        self._rate = RateLimit(OFFERS_PER_MINUTE / 60.0, OFFERS_AT_ONCE)
        self.scene = 0
        """Which picture the sources are of, 0 ... 255: another one after each cut."""
        self.replacing = False
        """Whether there were sources before a cut, and there is none yet for what is shown since."""

    @property
    def choosing(self) -> bool:
        """Whether the first source is still to be chosen."""
        return self._choice is not None

    @property
    def growing(self) -> bool:
        """Whether frames may call for another source."""
        return self._cover is not None and not self._single

    @property
    def current(self) -> EnrolledSource | None:
        """The source that frames use; None before the receiver has one."""
        return None if self._cover is None else self._cover.current

    @property
    def index(self) -> int:
        """Index of the current source, as motion messages name it."""
        return 0 if self._cover is None else self._places[self._cover.index]

    def choose(self, candidate: Candidate, now: float) -> Candidate | None:
        """Takes every frame with a face while `choosing`; returns the first source once, to be offered."""
        assert self._choice is not None
        chosen = self._choice.consider(candidate, now)
        if chosen is None or not self._may_offer(now):
            return None
        self._choice = None
        return chosen

    def wants(self, motion: Motion, clarity: float, now: float) -> bool:
        """Takes every frame while `growing`, motion as extracted; moves `current`; True: offer this frame as well."""
        assert self._cover is not None
        return self._cover.update(motion, clarity, now) and self._offered is None and self._may_offer(now)

    def offer(self, source: EnrolledSource) -> int:
        """A chosen source goes to the receiver, whose answer decides; returns its index."""
        index = self._free()[0]
        self._touch(index)
        self._offered = _Offer(index, source)
        self._unanswered.add(index)
        return index

    def answer(self, index: int, error: VisavisError | None) -> None:
        """The receiver has source `index`, or cannot use it. Raises `error` when there is no other picture."""
        self._unanswered.discard(index)
        offered = self._offered
        if offered is None or index != offered.place:
            return  # of a scene before, or attached again by a new connection
        self._offered = None
        if error is None:
            if self._cover is None:
                self._cover = SourceCover(offered.source)
                self.replacing = False
            else:
                self._cover.add(offered.source)
            self._places.append(index)
            return
        self._oldest.remove(index)
        self._oldest.insert(0, index)
        if self._single:
            raise error
        if self._cover is None:
            self._choice = FirstChoice()

    def cut(self) -> None:
        """The frames from here on show something else: choose anew."""
        if self._cover is not None:
            self._touch(self.index)
            self.replacing = True
        self.scene = (self.scene + 1) % 256
        self._choice, self._cover, self._offered = FirstChoice(), None, None
        self._places.clear()

    def _may_offer(self, now: float) -> bool:
        return bool(self._free()) and self._rate.admit(now)

    def _free(self) -> list[int]:
        """Places for the next source, the best first."""
        return [place for place in self._oldest if place not in self._places and place not in self._unanswered]

    def _touch(self, place: int) -> None:
        self._oldest.remove(place)
        self._oldest.append(place)
