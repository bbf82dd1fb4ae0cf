"""Files written by one thread: the event loop hands over once a second what is to be written, and waits for no disk.

What a file's thread-side object does stands in `motion_file.py` and `camera_file.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES = 8 << 20
"""Of one file; more means that the disk is too slow."""


class File(Protocol):
    """The thread's side of a file: every method may block."""

    @property
    def written(self) -> int:
        """Bytes so far."""

    def flush(self) -> None:
        """Hand everything to the disk."""

    def close(self) -> None:
        """End the file in an orderly way; idempotent."""


F = TypeVar("F", bound=File)


class Output(Generic[F]):
    """One file on its way to the disk. All methods belong to the event loop."""

    def __init__(self, executor: Executor, make: Callable[[], F], failed: Callable[[str], None]) -> None:
        """`make` opens the file, on the thread; `failed(reason)` is called once when it cannot be written on."""
        self._executor = executor
        self._make = make
        self._failed = failed
        self._file: F | None = None
        self._waiting: list[Callable[[F], None]] = []
        self._waiting_bytes = 0
        self._running: asyncio.Future[int] | None = None
        self._broken = False
        self.written = 0  # bytes that have gone to the disk

    def write(self, work: Callable[[F], None], size: int) -> None:
        """Have `work` write about `size` bytes with the next flush."""
        if self._broken:
            return
        self._waiting.append(work)
        self._waiting_bytes += size
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._break("the disk is too slow")

    def flush(self) -> None:
        """Begin to write what waits, unless the thread is still busy with what came before."""
        if self._waiting and self._running is None and not self._broken:
            self._submit(self._take(), last=False)

    async def close(self) -> None:
        """Write the rest and end the file."""
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
        running = self._submit([] if self._broken else self._take(), last=True)
        await asyncio.gather(running, return_exceptions=True)

    def _take(self) -> list[Callable[[F], None]]:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def _submit(self, work: list[Callable[[F], None]], *, last: bool) -> asyncio.Future[int]:
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._write, work, last)
        self._running = running
        running.add_done_callback(self._written)
        return running

    def _write(self, work: list[Callable[[F], None]], last: bool) -> int:
        """On the thread."""
        try:
            if work and self._file is None:
                self._file = self._make()
            file = self._file
            if file is None:
                return 0
            for one in work:
                one(file)
            file.flush()
            return file.written
        finally:
            if last and self._file is not None:
                self._file.close()

    def _written(self, running: asyncio.Future[int]) -> None:
        self._running = None
        if running.cancelled():
            return
        error = running.exception()
        if error is None:
            self.written = running.result()
        else:
            logger.error("a recording cannot be written", exc_info=error)
            self._break(f"the file cannot be written ({getattr(error, 'strerror', None) or type(error).__name__})")

    def _break(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            self._take()
            self._failed(reason)
