"""Who has the next turn: connections bring more than the event loop can take up at once, and each is to wait little.

In one turn of the loop a bounded number of connections are served, so that a burst of hundreds is spread over many
turns, between which everything else goes on. Those that wait stand in a line of their own for each origin, and the
lines take turns: many connections from one place wait for each other. Pure: it is told how to ask for the next turn.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

WORK_PER_TURN = 4
"""Pieces of work in one turn: what one read brought, or the end of a connection. A request costs about half a
millisecond of a core, spread over four turns, so that a turn takes some 2 ms however many wait."""


class Turns:
    """Pieces of work that wait for a turn of the loop, at most one for each connection: whoever adds them sees to that.

    `call_soon(f)` calls `f` in the next turn of the loop.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], per_turn: int = WORK_PER_TURN) -> None:
        self._call_soon = call_soon
        self._per_turn = per_turn
        self._lines: OrderedDict[Hashable, deque[Callable[[], None]]] = OrderedDict()
        self._left = per_turn
        self._turning = False  # the next turn is asked for

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def admit(self) -> bool:
        """Whether a piece of work may be done at once: nobody waits, and this turn has room. Counts it if so."""
        if self._lines or not self._left:
            return False
        self._left -= 1
        self._ask()
        return True

    def wait(self, origin: Hashable, work: Callable[[], None]) -> None:
        """Call `work` when its turn has come, in the line of `origin`."""
        self._lines.setdefault(origin, deque()).append(work)
        self._ask()

    def end(self) -> None:
        """From now on nobody waits."""
        self._per_turn = self._left = sys.maxsize
        self._turn()

    def _ask(self) -> None:
        if not self._turning:
            self._turning = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = self._per_turn
        while self._left and self._lines:
            self._left -= 1
            # First, so that the lines go on where one piece fails.
            self._ask()
            origin, line = self._lines.popitem(last=False)
            work = line.popleft()
            if line:
                self._lines[origin] = line  # to the end of the round
            work()
