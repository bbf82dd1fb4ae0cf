"""A server on an event loop in a thread of its own, so that synchronous browser tests can drive it."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")
SECONDS = 30.0
"""How long a call into the thread may take before the test fails."""


class ThreadedServer(ABC):
    """A context manager: it runs inside, on `port`."""

    def __init__(self, name: str) -> None:
        """`name`: of the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.port = self.run(self._start(0))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stop())
        finally:
            self._end()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives that the loop runs."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    @abstractmethod
    async def _start(self, port: int) -> int:
        """Listen on a port, 0 for any; returns which it is."""

    @abstractmethod
    async def _stop(self) -> None:
        """Close everything."""

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()
