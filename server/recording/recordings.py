"""All recordings of a process: at most one of a room at a time, each in a folder of its own below one directory."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from model.errors import InputError, VisavisError
from server.errors import CapacityError, ConflictError, NotFoundError
from server.recording.manifest import FILE_NAME, Manifest, Reason, read_manifest
from server.recording.recording import Recording
from server.signalling.participant import Participant
from server.signalling.ports import PublicationPort
from server.signalling.room_events import RecordingSpan, RoomEvent

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""Between two writes: what a crash can cost at most."""

MAX_FILES = 5000
"""Of one recording."""

MAX_LISTED = 1000
"""Recordings of a room in one answer, the newest first."""

_IDENTIFIER = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}(?:-(?P<node>[0-9a-f]{8}))?")
"""When it began, chance, and the mark of the node that made it where there are several."""

State = Literal["recording", "ended", "interrupted"]


def node_of(recording: str) -> str:
    """Mark of the node that made the recording of that identifier; empty where it names none."""
    found = _IDENTIFIER.fullmatch(recording)
    return (found["node"] or "") if found else ""


class RecordingOffError(VisavisError):
    """Recording is asked of a server that has no directory for it."""

    http_status = 501


@dataclass(frozen=True)
class RecordingLimits:
    """Where recordings go, and their bounds."""

    directory: Path | None
    at_once: int = 8
    max_bytes: int = 4 << 30  # of one recording
    max_seconds: float = 6 * 3600.0
    min_free_bytes: int = 1 << 30  # that the disk keeps


@dataclass(frozen=True)
class Recorded:
    """A recording as it is known now."""

    manifest: Manifest
    state: State
    sizes: dict[str, int]  # bytes of each file that is there


class Recordings:
    """All methods belong to one event loop.

    roster       everybody in a room whom others see
    publication  what a participant publishes, if anything
    changed      called with a room that begins or ends to be recorded, and whether it is
    tell         told of the beginning, and of the end once all files are whole
    node         mark of this node, empty where it knows of no others
    """

    def __init__(
        self,
        limits: RecordingLimits,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        roster: Callable[[str], list[Participant]],
        publication: Callable[[str], PublicationPort | None],
        changed: Callable[[str, bool], None],
        tell: Callable[[RoomEvent], None],
        node: str = "",
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._roster = roster
        self._publication = publication
        self._changed = changed
        self._tell = tell
        self._suffix = f"-{node}" if node else ""
        self._running: dict[str, Recording] = {}  # by room
        self._starting: set[str] = set()
        self._ending: dict[str, Recording] = {}  # whose files are not whole yet, by their identifiers
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._executor: ThreadPoolExecutor | None = None

    @property
    def enabled(self) -> bool:
        """Whether this server records at all."""
        return self._limits.directory is not None

    def active(self, room: str) -> bool:
        """Whether the room is being recorded."""
        return room in self._running

    # Life

    async def open(self) -> None:
        """Begin to let time pass."""
        if self.enabled:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="recording")
            self._ticker = asyncio.create_task(self._tick_forever(), name="recordings ticker")

    async def close(self) -> None:
        """End every recording and wait for it; idempotent."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        for room in list(self._running):
            self._end(room, "shutdown")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown)

    # Asked for

    async def start(self, room: str) -> Recorded:
        """Record everybody in the room from now on.

        Raises RecordingOffError, NotFoundError when nobody is there, ConflictError when it is recorded already,
        CapacityError when too many are or the disk is full.
        """
        directory, executor = self._place()
        if not self._roster(room):
            raise NotFoundError("no such room")
        if room in self._running or room in self._starting:
            raise ConflictError("the room is being recorded already")
        if len(self._running) + len(self._starting) >= self._limits.at_once:
            raise CapacityError(f"at most {self._limits.at_once} rooms are recorded at a time")
        now = self._wall_clock()
        at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        manifest = Manifest(recording=f"{at}-{secrets.token_hex(4)}{self._suffix}", room=room, started=now)
        folder = directory / room / manifest.recording
        self._starting.add(room)
        try:
            free = await asyncio.get_running_loop().run_in_executor(executor, _prepare, folder, manifest)
        except (OSError, InputError) as error:
            logger.error("a recording cannot begin: %s", error)
            raise CapacityError("the directory of recordings cannot be written to") from None
        finally:
            self._starting.discard(room)
        if free < self._limits.min_free_bytes:
            await asyncio.get_running_loop().run_in_executor(executor, shutil.rmtree, folder, True)
            raise CapacityError("the disk of recordings is full")
        recording = Recording(executor, folder, manifest, self._clock, self._publication)
        self._running[room] = recording
        logger.info("recording began", extra={"room": room, "recording": manifest.recording})
        self._changed(room, True)
        self._tell(RoomEvent("recording_started", room, recording=RecordingSpan(manifest.recording, now)))
        self.follow(room)
        return Recorded(manifest, "recording", {})

    async def stop(self, room: str, identifier: str) -> None:
        """End a recording, and wait until its files are whole. Raises NotFoundError unless it runs."""
        self._place()
        recording = self._running.get(room)
        if recording is None or recording.manifest.recording != identifier:
            raise NotFoundError("no such recording is running")
        await asyncio.shield(self._end(room, "stopped"))

    async def of_room(self, room: str, besides: Collection[str] = ()) -> list[Recorded]:
        """Recordings of a room, the newest first, but those of the nodes with the marks `besides`.

        Raises RecordingOffError.
        """
        directory, executor = self._place()
        folders = await asyncio.get_running_loop().run_in_executor(executor, _folders, directory / room, besides)
        return [found for folder in folders if (found := await self._read(folder)) is not None]

    async def get(self, room: str, identifier: str) -> Recorded:
        """One of them. Raises RecordingOffError, NotFoundError."""
        found = await self._read(self._folder(room, identifier))
        if found is None:
            raise NotFoundError("no such recording")
        return found

    async def file(self, room: str, identifier: str, name: str) -> Path:
        """Where a file of a recording lies. Raises RecordingOffError, NotFoundError."""
        recorded = await self.get(room, identifier)
        if name not in recorded.sizes:
            raise NotFoundError("no such file")
        return self._folder(room, identifier) / name

    async def remove(self, room: str, identifier: str) -> None:
        """Delete a recording. Raises RecordingOffError, NotFoundError, ConflictError while it runs."""
        if (await self.get(room, identifier)).state == "recording":
            raise ConflictError("the recording is running: stop it first")
        _, executor = self._place()
        folder = self._folder(room, identifier)
        await asyncio.get_running_loop().run_in_executor(executor, shutil.rmtree, folder, True)

    def follow(self, room: str) -> None:
        """The roster of a room is another, or somebody publishes anew."""
        recording = self._running.get(room)
        if recording is None:
            return
        roster = self._roster(room)
        if roster:
            recording.follow(roster)
        else:
            self._end(room, "room_ended")

    # Inside

    def _place(self) -> tuple[Path, ThreadPoolExecutor]:
        if self._limits.directory is None or self._executor is None:
            raise RecordingOffError("this server records nothing: VISAVIS_RECORDINGS names no directory")
        return self._limits.directory, self._executor

    def _folder(self, room: str, identifier: str) -> Path:
        directory, _ = self._place()
        if not _IDENTIFIER.fullmatch(identifier):
            raise NotFoundError("no such recording")
        return directory / room / identifier

    async def _read(self, folder: Path) -> Recorded | None:
        _, executor = self._place()
        manifest, sizes = await asyncio.get_running_loop().run_in_executor(executor, _contents, folder)
        if manifest is None:
            return None
        for running in (self._running.get(folder.parent.name), self._ending.get(folder.name)):
            if running is not None and running.manifest.recording == folder.name:
                return Recorded(running.manifest, "recording", sizes)
        return Recorded(manifest, "interrupted" if manifest.ended is None else "ended", sizes)

    def _end(self, room: str, reason: Reason) -> asyncio.Task[None]:
        recording = self._running.pop(room)
        logger.info("recording ended", extra={"room": room, "recording": recording.manifest.recording, "why": reason})
        self._ending[recording.manifest.recording] = recording
        task = asyncio.get_running_loop().create_task(self._close(recording, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._changed(room, False)
        return task

    async def _close(self, recording: Recording, reason: Reason) -> None:
        try:
            await recording.close(reason, self._wall_clock())
        finally:
            manifest = recording.manifest
            del self._ending[manifest.recording]
            span = RecordingSpan(manifest.recording, manifest.started, manifest.ended, manifest.reason)
            self._tell(RoomEvent("recording_ended", manifest.room, recording=span))

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for room in list(self._running):
                with suppress(KeyError):
                    self._tick(room)

    def _tick(self, room: str) -> None:
        recording, limits = self._running[room], self._limits
        recording.flush()
        if len(recording.manifest.files) >= MAX_FILES:
            self._end(room, "files")
        elif recording.written > limits.max_bytes:
            self._end(room, "bytes")
        elif self._clock() - recording.started > limits.max_seconds:
            self._end(room, "duration")
        elif recording.free < limits.min_free_bytes:
            self._end(room, "disk")


def _prepare(folder: Path, manifest: Manifest) -> float:
    """On the thread: the folder with its first manifest, and the bytes that are free."""
    folder.mkdir(parents=True, mode=0o700)
    manifest.write(folder)
    return float(shutil.disk_usage(folder).free)


def _folders(room: Path, besides: Collection[str]) -> list[Path]:
    """On the thread: folders of a room's recordings, the newest first, but those of other nodes `besides`."""
    try:
        found = [entry for entry in room.iterdir() if _IDENTIFIER.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []
    found = [entry for entry in found if node_of(entry.name) not in besides]
    return sorted(found, key=lambda folder: folder.name, reverse=True)[:MAX_LISTED]


def _contents(folder: Path) -> tuple[Manifest | None, dict[str, int]]:
    """On the thread: the manifest, and the size of each of its files that is there."""
    manifest = read_manifest(folder)
    sizes: dict[str, int] = {}
    if manifest is not None:
        for entry in manifest.files:
            if FILE_NAME.fullmatch(entry.file):
                with suppress(OSError):
                    sizes[entry.file] = (folder / entry.file).stat().st_size
    return manifest, sizes
