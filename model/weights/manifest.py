"""The manifest of weights files: name, size, sha256 and licence of each. Knows nothing of what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from model.errors import WeightsError
from model.media.atomic_file import complete_file

MANIFEST = Path(__file__).with_name("manifest.json")

LANDMARKS = MANIFEST.with_name("landmarks.safetensors")
FACE_DETECTOR = MANIFEST.with_name("face_detector.safetensors")


def eye_enhancer_of(weights: Path) -> Path:
    """Where the eye enhancer lies that was trained on what these weights draw."""
    return weights.with_name(f"{weights.stem}_eye_enhancer.safetensors")


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


def read_weights(path: Path, manifest: Path = MANIFEST) -> bytes:
    """The bytes of a weights file; one that ships must be what the manifest says, any other is taken as it is.

    Raises WeightsError for a file that ships and is damaged, OSError when it cannot be read.
    """
    data = path.read_bytes()
    if path.resolve().parent == manifest.resolve().parent:
        for entry in read_manifest(manifest):
            if entry["name"] == path.name and entry["sha256"] != hashlib.sha256(data).hexdigest():
                raise WeightsError(f"{path} is damaged: its SHA-256 is not the manifest's (visavis weights verify)")
    return data


def write_manifest(entry: dict[str, Any], path: Path = MANIFEST) -> None:
    """Put `entry` in place of the one with its name."""
    entries = {e["name"]: e for e in read_manifest(path)} | {entry["name"]: entry}
    with complete_file(path) as partial:
        partial.write_text(json.dumps(list(entries.values()), indent=1) + "\n")
