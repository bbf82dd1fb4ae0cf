"""What a step needs, made while the steps before it still run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Results of `make(step)` for steps in a row, `depth` of them begun before they are asked for."""

    def __init__(self, make: Callable[[int], T], depth: int) -> None:
        """`make` runs in `depth` threads, or with a depth of 0 in the caller's."""
        self._make, self._depth = make, depth
        self._begun: dict[int, Future[T]] = {}
        self._threads = ThreadPoolExecutor(depth, "ahead") if depth else None

    def take(self, step: int) -> T:
        """What `make(step)` gives, or raises; steps before it are given up."""
        if self._threads is None:
            return self._make(step)
        for other in [other for other in self._begun if not step <= other <= step + self._depth]:
            self._begun.pop(other).cancel()
        for coming in range(step, step + self._depth + 1):
            if coming not in self._begun:
                self._begun[coming] = self._threads.submit(self._make, coming)
        return self._begun.pop(step).result()

    def close(self) -> None:
        """Wait for what has begun, and begin no more."""
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
