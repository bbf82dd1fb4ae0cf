"""`recording.json`: what a recording's folder holds, and whom (docs/protocol.md, "Recordings")."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.media.atomic_file import complete_file

NAME = "recording.json"
MAX_BYTES = 4 << 20
FILE_NAME = re.compile(r"[0-9]{3,6}\.(vav|webm|mp4)")

Reason = Literal["stopped", "room_ended", "bytes", "files", "duration", "disk", "shutdown"]
"""Why a recording ended."""


class RecordedFile(BaseModel):
    """One file: what one participant sent between two changes of what it sends."""

    model_config = ConfigDict(extra="ignore")

    file: str = Field(pattern=FILE_NAME.pattern)
    participant: str
    identity: str
    name: str
    kind: Literal["motion", "camera", "screen"]
    avatar: bool = False
    offset: float = Field(ge=0, allow_inf_nan=False)
    problem: str | None = None


class Manifest(BaseModel):
    """The whole of it. Times are Unix seconds."""

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    recording: str
    room: str
    started: float = Field(allow_inf_nan=False)
    ended: float | None = Field(default=None, allow_inf_nan=False)
    reason: Reason | None = None
    files: list[RecordedFile] = Field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Put it into the folder, whole or not at all. Raises InputError."""
        text = self.model_dump_json(indent=1)
        with complete_file(folder / NAME) as part:
            part.write_text(text)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none that can be read."""
    path = folder / NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
