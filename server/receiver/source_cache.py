"""Source cache: enrolled source images by SHA-256, least recently used first out, those in use never.

A reconnect, a second viewer or a second publication of the same picture uploads and computes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.codec.source_image import SourceLimits
from model.codec.window import decode_window
from model.errors import VisavisError
from server.receiver.render_engine import RenderEngine
from server.receiver.source_image import Crop, FindCrop, crop_source

if TYPE_CHECKING:
    from model.face.finder import HeadFinder
    from model.source_state import SourceState
    from model.window import Window


class SourceCacheFullError(VisavisError):
    """Every cached source image is in use, or too many uploads are being decoded."""

    http_status = 503


@dataclass(frozen=True)
class CacheSettings:
    """Bounds of the cache."""

    max_bytes: int = 512 * 1024 * 1024  # of features
    max_count: int = 256
    max_waiting: int = 16  # uploads that may be decoded or wait for it
    limits: SourceLimits = field(default_factory=SourceLimits)


@dataclass
class _Entry:
    state: SourceState
    image: bytes  # whose decoding is what was enrolled
    users: int = 0

    @property
    def nbytes(self) -> int:
        return self.state.nbytes + len(self.image)


@cache
def _finder() -> HeadFinder:
    """Loaded with the first upload that needs it: head crops and cameras do not, and it loads torch."""
    from model.face.finder import HeadFinder

    return HeadFinder()


def _still_crop(picture: NDArray[np.uint8]) -> Crop:
    from model.face.finder import still_crop

    return still_crop(picture, _finder())


class SourceCache:
    """One per process. All methods belong to one event loop."""

    def __init__(
        self, engine: RenderEngine, settings: CacheSettings | None = None, find_crop: FindCrop = _still_crop
    ) -> None:
        self._engine = engine
        self._settings = settings or CacheSettings()
        self._find_crop = find_crop
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._running: dict[str, asyncio.Task[_Entry]] = {}
        # One worker: decoding and face detection of uploads never take more than one core.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="source-decoder")
        self._bytes = 0
        self._windows_waiting = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes of cached features."""
        return self._bytes

    @property
    def in_use(self) -> int:
        """Entries that some publication holds."""
        return sum(entry.users > 0 for entry in self._entries.values())

    async def add(self, image: bytes) -> str:
        """Decode, check and enrol an image unless it is cached; acquired for the caller. Returns its SHA-256 in hex.

        Raises SourceTooLargeError, SourceFormatError, InputError, FaceError, SourceCacheFullError, EngineError.
        """
        sha256 = hashlib.sha256(image).hexdigest()
        if self.acquire(sha256) is not None:
            return sha256
        task = self._running.get(sha256)
        if task is None:
            if len(self._running) >= self._settings.max_waiting:
                raise SourceCacheFullError("too many source images are being uploaded; try again shortly")
            task = asyncio.ensure_future(self._enrol(image))
            self._running[sha256] = task
            task.add_done_callback(lambda done: self._finished(sha256, done))
        # Shielded: several callers may wait for one enrolment, and one that hangs up must not fail the others.
        entry = await asyncio.shield(task)
        if sha256 not in self._entries:
            self._make_room(entry.nbytes)
            self._entries[sha256] = entry
            self._bytes += entry.nbytes
        self.acquire(sha256)
        return sha256

    async def decode_window(self, data: bytes) -> Window:
        """A window, decoded where source images are. Raises WindowError, SourceCacheFullError."""
        if self._windows_waiting >= self._settings.max_waiting:
            raise SourceCacheFullError("too many windows are being uploaded; try again shortly")
        self._windows_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, decode_window, data)
        finally:
            self._windows_waiting -= 1

    async def with_windows(self, sha256: str, windows: Sequence[Window]) -> SourceState:
        """The state of an acquired entry with windows beside it, which the caller keeps. Raises EngineError."""
        return await self._engine.with_windows(self.state(sha256), windows)

    def acquire(self, sha256: str) -> SourceState | None:
        """The enrolled state, held until `release`; None when it is not cached."""
        entry = self._entries.get(sha256)
        if entry is None:
            return None
        entry.users += 1
        self._entries.move_to_end(sha256)
        return entry.state

    def state(self, sha256: str) -> SourceState:
        """The state of an acquired entry. Raises KeyError for one that is not cached."""
        return self._entries[sha256].state

    def image(self, sha256: str) -> bytes:
        """The image of an acquired entry: as it came where that is a crop of the size that was enrolled, else a PNG."""
        return self._entries[sha256].image

    def release(self, sha256: str) -> None:
        """Give an acquired entry back; it stays cached until room is needed."""
        entry = self._entries[sha256]
        assert entry.users > 0, "released more often than acquired"
        entry.users -= 1

    async def close(self) -> None:
        """Forget everything; idempotent."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, True, cancel_futures=True)
        self._entries.clear()
        self._bytes = 0

    async def _enrol(self, image: bytes) -> _Entry:
        loop = asyncio.get_running_loop()
        settings = self._settings
        picture, kept = await loop.run_in_executor(
            self._pool, crop_source, image, self._engine.known.profile.source_size, settings.limits, self._find_crop
        )
        return _Entry(await self._engine.enrol(picture), kept)

    def _finished(self, sha256: str, task: asyncio.Task[_Entry]) -> None:
        self._running.pop(sha256, None)
        if not task.cancelled():
            task.exception()  # seen, also when every caller has hung up

    def _make_room(self, nbytes: int) -> None:
        settings = self._settings
        idle = [sha256 for sha256, entry in self._entries.items() if entry.users == 0]
        while len(self._entries) >= settings.max_count or self._bytes + nbytes > settings.max_bytes:
            if not idle:
                raise SourceCacheFullError("the source cache is full of images in use")
            self._bytes -= self._entries.pop(idle.pop(0)).nbytes
