"""The manifest of weights files: name, size, sha256 and licence of each. Knows nothing of what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from model.errors import WeightsError
from model.media.atomic_file import complete_file

MANIFEST = Path(__file__).with_name("manifest.json")


def describe(path: Path) -> dict[str, Any]:
    """Manifest entry of a weights file, but for its licence."""
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_manifest(path: Path = MANIFEST) -> list[dict[str, Any]]:
    """Entries of a manifest; empty when there is none."""
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries


def check_weights(path: Path, data: bytes) -> None:
    """Compare the bytes of a weights file with the manifest beside it; a file that no manifest names passes.

    Raises WeightsError when they are not those that the manifest was made from.
    """
    for entry in read_manifest(path.with_name(MANIFEST.name)):
        if entry["name"] == path.name and entry["sha256"] != hashlib.sha256(data).hexdigest():
            raise WeightsError(f"{path} is not the file that {MANIFEST.name} describes: fetch it again")


def write_manifest(entry: dict[str, Any], path: Path = MANIFEST) -> None:
    """Put `entry` in place of the one with its name."""
    entries = [e for e in read_manifest(path) if e["name"] != entry["name"]]
    with complete_file(path) as partial:
        partial.write_text(json.dumps([*entries, entry], indent=1) + "\n")
