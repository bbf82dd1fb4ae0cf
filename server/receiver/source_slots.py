"""The source images of one publication, by the sender's index, and the windows that stand beside them.

A window stands beside the source images of its scene: after a cut there may be another person.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.codec.window import SLOTS_OF_KIND
from model.errors import InputError
from server.errors import ConflictError
from server.receiver.source_cache import SourceCache

if TYPE_CHECKING:
    from model.source_state import SourceState
    from model.window import Window


@dataclass(frozen=True)
class _Window:
    scene: int
    data: bytes  # as it was uploaded
    window: Window


class SourceSlots:
    """Each image in a slot is held in the cache until another takes the slot or the slots close."""

    def __init__(self, cache: SourceCache, limit: int) -> None:
        """`limit`: slots; indices run from 0 to one less."""
        self._cache = cache
        self._limit = limit
        self._hashes: dict[int, str] = {}  # SHA-256 in hex
        self._scenes: dict[int, int] = {}  # by index
        self._windows: dict[int, _Window] = {}  # by the sender's slot
        self._beside: dict[int, tuple[str, SourceState]] = {}  # by index: the image's hash, its state with windows
        self._joining = asyncio.Lock()
        self._closed = False

    def state(self, index: int) -> SourceState | None:
        """The enrolled source image, with windows once they stand beside it; None where the slot is empty."""
        sha256 = self._hashes.get(index)
        if sha256 is None:
            return None
        joined, state = self._beside.get(index, ("", None))
        return state if joined == sha256 else self._cache.state(sha256)

    @property
    def indices(self) -> list[int]:
        """Slots that hold an image."""
        return list(self._hashes)

    def image(self, index: int) -> bytes | None:
        """The image as it can be enrolled again; None where the slot is empty."""
        sha256 = self._hashes.get(index)
        return None if sha256 is None else self._cache.image(sha256)

    def windows(self, index: int) -> dict[int, bytes]:
        """The windows beside an image by their slots, as they were uploaded."""
        return {slot: window.data for slot, window in self._beside_of(index).items()}

    async def add(self, index: int, image: bytes, scene: int = 0) -> str:
        """Decode, check and enrol an image; returns its SHA-256 in hex.

        Raises InputError (413, 415 and 422 among them), FaceError, SourceCacheFullError, EngineError, ConflictError.
        """
        self._check(index)
        sha256 = await self._cache.add(image)
        self._put(index, sha256, scene)
        await self.join(index)
        return sha256

    async def add_window(self, slot: int, data: bytes, scene: int = 0) -> None:
        """Take a window in place of the one in that slot; it stands beside its scene's images from now on.

        Raises InputError (WindowError among them), SourceCacheFullError, EngineError, ConflictError.
        """
        window = await self._cache.decode_window(data)
        slots = SLOTS_OF_KIND[data[0]]
        if slot not in slots:
            raise InputError(f"the slot of such a window is not within {slots.start} ... {slots.stop - 1}")
        if self._closed:
            raise ConflictError("the publication has ended")
        self._windows[slot] = _Window(scene, data, window)
        for index in list(self._hashes):
            await self.join(index)

    def attach(self, index: int, sha256: str, scene: int | None = None) -> bool:
        """Use an image that the cache still holds; False when it must be uploaded.

        scene: None keeps the index's. Raises InputError, ConflictError.
        """
        self._check(index)
        if self._cache.acquire(sha256) is None:
            return False
        self._put(index, sha256, self._scenes.get(index, 0) if scene is None else scene)
        return True

    def announce(self, index: int, sha256: str) -> bool:
        """The sender is going to use an image; False when it must upload it first."""
        if index >= self._limit:
            return True  # refused at the upload, with a reason; asking for it would only repeat that
        return self._hashes.get(index) == sha256 or self.attach(index, sha256)

    def close(self) -> None:
        """Release all images; later ones are refused. Idempotent."""
        self._closed = True
        for sha256 in self._hashes.values():
            self._cache.release(sha256)
        self._hashes.clear()
        self._scenes.clear()
        self._windows.clear()
        self._beside.clear()

    def _check(self, index: int) -> None:
        if not 0 <= index < self._limit:
            raise InputError(f"source index {index} is not within 0 ... {self._limit - 1}")

    async def join(self, index: int) -> None:
        """Put the windows that there are beside an image."""
        async with self._joining:  # one after the other: the last word is of the newest windows
            sha256, windows = self._hashes.get(index), [one.window for one in self._beside_of(index).values()]
            if sha256 is None or not windows:
                self._beside.pop(index, None)
                return
            if self._cache.acquire(sha256) is None:
                return
            try:
                state = await self._cache.with_windows(sha256, windows)
            finally:
                self._cache.release(sha256)
            if not self._closed:
                self._beside[index] = (sha256, state)

    def _beside_of(self, index: int) -> dict[int, _Window]:
        scene = self._scenes.get(index)
        return {slot: self._windows[slot] for slot in sorted(self._windows) if self._windows[slot].scene == scene}

    def _put(self, index: int, sha256: str, scene: int) -> None:
        """Put an acquired image into its slot."""
        if self._closed:
            self._cache.release(sha256)
            raise ConflictError("the publication has ended")
        before, self._hashes[index] = self._hashes.get(index), sha256
        if before != sha256 or self._scenes.get(index) != scene:  # of another scene windows are another person's
            self._beside.pop(index, None)
        self._scenes[index] = scene
        if before is not None:
            self._cache.release(before)
