"""The source images of one publication, by the sender's index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.errors import InputError
from server.errors import ConflictError
from server.receiver.source_cache import SourceCache

if TYPE_CHECKING:
    from model.source_state import SourceState


class SourceSlots:
    """Each image in a slot is held in the cache until another takes the slot or the slots close."""

    def __init__(self, cache: SourceCache, limit: int) -> None:
        """`limit`: slots; indices run from 0 to one less."""
        self._cache = cache
        self._limit = limit
        self._hashes: dict[int, str] = {}  # SHA-256 in hex
        self._closed = False

    def state(self, index: int) -> SourceState | None:
        """The enrolled source image; None where the slot is empty."""
        sha256 = self._hashes.get(index)
        return None if sha256 is None else self._cache.state(sha256)

    @property
    def indices(self) -> list[int]:
        """Slots that hold an image."""
        return list(self._hashes)

    def image(self, index: int) -> bytes | None:
        """The image as it can be enrolled again; None where the slot is empty."""
        sha256 = self._hashes.get(index)
        return None if sha256 is None else self._cache.image(sha256)

    async def add(self, index: int, image: bytes) -> str:
        """Decode, check and enrol an image; returns its SHA-256 in hex.

        Raises InputError (413, 415 and 422 among them), FaceError, SourceCacheFullError, EngineError, ConflictError.
        """
        self._check(index)
        sha256 = await self._cache.add(image)
        self._put(index, sha256)
        return sha256

    def attach(self, index: int, sha256: str) -> bool:
        """Use an image that the cache still holds; False when it must be uploaded. Raises InputError, ConflictError."""
        self._check(index)
        if self._cache.acquire(sha256) is None:
            return False
        self._put(index, sha256)
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

    def _check(self, index: int) -> None:
        if not 0 <= index < self._limit:
            raise InputError(f"source index {index} is not within 0 ... {self._limit - 1}")

    def _put(self, index: int, sha256: str) -> None:
        """Put an acquired image into its slot."""
        if self._closed:
            self._cache.release(sha256)
            raise ConflictError("the publication has ended")
        before, self._hashes[index] = self._hashes.get(index), sha256
        if before is not None:
            self._cache.release(before)
