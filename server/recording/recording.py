"""One recording of one room: a folder with a take of each participant, and its manifest."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path

from model.errors import InputError
from server.recording.manifest import Manifest, Reason, RecordedFile
from server.recording.take import Take
from server.signalling.participant import Participant
from server.signalling.ports import PublicationPort

logger = logging.getLogger(__name__)


class Recording:
    """A running recording. All methods belong to the event loop; files are written by `executor`."""

    def __init__(
        self,
        executor: Executor,
        folder: Path,
        manifest: Manifest,
        clock: Callable[[], float],
        publication: Callable[[str], PublicationPort | None],
    ) -> None:
        self._executor = executor
        self._folder = folder
        self._clock = clock
        self._publication = publication
        self.manifest = manifest
        self.started = clock()
        self.free = float("inf")
        """Bytes that the disk had left when it was looked at last."""
        self._takes: dict[str, Take] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._ended_bytes = 0  # of participants who left
        self._dirty = False
        self._writing: asyncio.Future[float] | None = None
        self._closed = False

    @property
    def written(self) -> int:
        """Bytes on the disk."""
        return self._ended_bytes + sum(take.written for take in self._takes.values())

    def follow(self, roster: Iterable[Participant]) -> None:
        """Record exactly those who are in the room, with whatever they publish."""
        if self._closed:
            return
        present = {participant.id: participant for participant in roster}
        for who in [who for who in self._takes if who not in present]:
            self._end(self._takes.pop(who))
        for who, participant in present.items():
            publication = self._publication(who)
            if publication is None:
                continue
            if who not in self._takes:
                self._takes[who] = Take(
                    self._executor,
                    self._folder,
                    self.started,
                    round(self.manifest.started * 1000),
                    lambda kind, suffix, participant=participant: self._begin(participant, kind, suffix),  # type: ignore[misc]
                    self._changed,
                )
            publication.record(self._takes[who])

    def flush(self) -> None:
        """Once a second: begin to write what has come, and look how much room is left."""
        for take in self._takes.values():
            take.flush()
        if self._writing is None:
            manifest = self.manifest.model_copy(deep=True) if self._dirty else None
            self._dirty = False
            running = asyncio.get_running_loop().run_in_executor(self._executor, self._write, manifest)
            self._writing = running
            running.add_done_callback(self._written)

    async def close(self, reason: Reason, now: float) -> None:
        """End every file, then the manifest; `now`: Unix seconds. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for who, take in self._takes.items():
            publication = self._publication(who)
            if publication is not None:
                publication.record(None)
            self._end(take)
        self._takes.clear()
        await asyncio.gather(*self._ending)
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        self.manifest.ended, self.manifest.reason = now, reason
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self.manifest.write, self._folder)
        except InputError:
            logger.exception("the manifest of a recording cannot be written")

    def _begin(self, participant: Participant, kind: str, suffix: str) -> RecordedFile:
        entry = RecordedFile(
            file=f"{len(self.manifest.files) + 1:03d}{suffix}",
            participant=participant.id,
            identity=participant.identity,
            name=participant.name,
            kind="motion" if kind == "motion" else "camera" if participant.owner is None else "screen",
            avatar=participant.avatar,
            offset=0.0,
        )
        self.manifest.files.append(entry)
        self._changed()
        return entry

    def _changed(self) -> None:
        self._dirty = True

    def _end(self, take: Take) -> None:
        async def close() -> None:
            await take.close()
            self._ended_bytes += take.written

        task = asyncio.get_running_loop().create_task(close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _write(self, manifest: Manifest | None) -> float:
        """On the thread."""
        if manifest is not None:
            manifest.write(self._folder)
        return float(shutil.disk_usage(self._folder).free)

    def _written(self, running: asyncio.Future[float]) -> None:
        self._writing = None
        if running.cancelled():
            return
        if (error := running.exception()) is not None:
            logger.error("the manifest of a recording cannot be written", exc_info=error)
            self._dirty = True
        else:
            self.free = running.result()
