"""How source images come about: choosing the first, offering it, covering what follows, offering more.

    choosing --offer--> offered --taken--> covering --offer--> covering, one more offered --taken or refused--> covering
        ^------------refused---'

Pure: takes frames and answers one by one, with the time in seconds.
"""

from __future__ import annotations

from model.errors import VisavisError
from model.motion import Motion
from server.sender.media.source_choice import Candidate, EnrolledSource, FirstChoice, SourceCover


class SourceSelection:
    """The sources of one sender; at most one is offered at a time."""

    def __init__(self, *, single: bool = False) -> None:
        """`single`: there is one picture and no other (an avatar's)."""
        self._single = single
        self._choice: FirstChoice | None = FirstChoice()
        self._cover: SourceCover | None = None
        self._offered: EnrolledSource | None = None  # chosen, and not yet with the receiver

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
        return 0 if self._cover is None else self._cover.index

    def choose(self, candidate: Candidate, now: float) -> Candidate | None:
        """Takes every frame with a face while `choosing`; returns the first source once, to be offered."""
        assert self._choice is not None
        chosen = self._choice.consider(candidate, now)
        if chosen is not None:
            self._choice = None
        return chosen

    def wants(self, motion: Motion, clarity: float, now: float) -> bool:
        """Takes every frame while `growing`, motion as extracted; moves `current`; True: offer this frame as well."""
        assert self._cover is not None
        return self._cover.update(motion, clarity, now) and self._offered is None

    def offer(self, source: EnrolledSource) -> int:
        """A chosen source goes to the receiver, whose answer decides; returns its index."""
        self._offered = source
        return 0 if self._cover is None else self._cover.next_index

    def answer(self, index: int, error: VisavisError | None) -> None:
        """The receiver has source `index`, or cannot use it. Raises `error` when there is no other picture."""
        offered = self._offered
        if offered is None or index != (0 if self._cover is None else self._cover.next_index):
            return  # an old source, attached again by a new connection
        self._offered = None
        if error is None:
            if self._cover is None:
                self._cover = SourceCover(offered)
            else:
                self._cover.add(offered)
        elif self._single:
            raise error
        elif self._cover is None:
            self._choice = FirstChoice()
