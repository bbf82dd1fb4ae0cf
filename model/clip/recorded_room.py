"""The folder of a recorded call: which files hold whom (docs/protocol.md, "Recordings")."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.clip.call_sound import LONGEST
from model.errors import BitstreamError, InputError

MANIFEST = "recording.json"
MAX_MANIFEST_BYTES = 4 << 20
FILE_NAME = re.compile(r"[0-9]{3,6}\.(vav|webm|mp4)")
"""Names of the files beside the manifest: numbers in the order of their beginning."""


@dataclass(frozen=True)
class RecordedFile:
    """One file of a participant: everything that came between two changes of what it sends."""

    path: Path
    participant: str  # id
    name: str  # shown to others when the file began
    offset: float  # seconds after the recording's start that are the time 0 of a film; a `.vav` says its own

    @property
    def is_motion(self) -> bool:
        """Whether it holds motion, to be rendered, and no pictures."""
        return self.path.suffix == ".vav"


def read_recorded_room(folder: Path, participant: str | None = None) -> list[RecordedFile]:
    """Files of a recording in the order of their beginning; with `participant`, an id or a name, of that one alone.

    Raises InputError and BitstreamError.
    """
    manifest = folder / MANIFEST
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            raise BitstreamError(f"{manifest}: more than {MAX_MANIFEST_BYTES} bytes")
        fields = json.loads(manifest.read_bytes())
    except OSError as error:
        raise InputError(f"{folder} holds no recording: {manifest.name} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise BitstreamError(f"{manifest} is not JSON") from None
    try:
        files = [_file(folder, entry) for entry in fields["files"]]
    except (KeyError, TypeError, ValueError):
        raise BitstreamError(f"{manifest} does not describe a recording") from None
    if participant is None:
        return files
    wanted = [file for file in files if participant in (file.participant, file.name)]
    if not wanted:
        names = ", ".join(sorted({file.name for file in files})) or "nobody"
        raise InputError(f"{folder} holds nothing of {participant}; it has {names}")
    return wanted


def _file(folder: Path, entry: dict[str, Any]) -> RecordedFile:
    name = str(entry["file"])
    if not FILE_NAME.fullmatch(name):
        raise ValueError(name)
    offset = float(entry["offset"])
    if not 0 <= offset < LONGEST:
        raise ValueError(offset)
    return RecordedFile(folder / name, str(entry["participant"]), str(entry["name"]), offset)
