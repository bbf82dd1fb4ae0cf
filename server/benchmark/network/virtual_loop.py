"""An event loop whose time is virtual: where it would wait for a timer, it moves its clock instead.

TCP of this process to itself uses real sockets of loopback, which hold what was written at once; they are looked at
before time moves. Work for threads is done at once and takes no time. UDP is in memory (`datagrams.py`).
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from server.benchmark.network.datagrams import Datagrams, Transport

_START = 1000.0
"""Seconds: of the clock when the loop begins."""

_TURN = 1e-9
"""Seconds that a turn of the loop takes: whoever waits for the rest of a rounding error would wait for ever."""

_STUCK_SECONDS = 5.0
"""Real time: a loop without timers waits that long for a socket before it gives up."""


class StuckError(RuntimeError):
    """Nothing will ever happen again: no timer is set and no socket says anything."""


class _Selector(selectors.DefaultSelector):
    """Looks at sockets, and moves the clock in place of waiting."""

    advance: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            events = super().select(_STUCK_SECONDS)
            if not events:
                raise StuckError("the virtual loop has nothing to wait for")
            return list(events)
        events = super().select(0)
        self.advance(_TURN if events else max(timeout, 0.0) + _TURN)
        return list(events)


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop over a virtual network."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        self.datagrams = Datagrams()
        self._now = _START
        selector.advance = self._advance

    def _advance(self, seconds: float) -> None:
        self._now += seconds

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # of any type
        """The work is done here and now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_datagram_endpoint(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:
        """An endpoint of the present task's host (`datagrams.HOST`)."""
        protocol = protocol_factory()
        transport = Transport(self.datagrams, protocol)
        protocol.connection_made(transport)
        return transport, protocol
