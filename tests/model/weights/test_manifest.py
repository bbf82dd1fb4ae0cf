"""Weights that ship are compared with the manifest when they are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import WeightsError
from model.weights.manifest import MANIFEST, describe, read_manifest, read_weights, write_manifest


def test_a_flipped_bit_is_refused_at_load(tmp_path: Path) -> None:
    path, manifest = tmp_path / "small.safetensors", tmp_path / "manifest.json"
    path.write_bytes(bytes(1000))
    write_manifest(describe(path) | {"licence": "none"}, manifest)
    assert read_weights(path, manifest) == bytes(1000)
    path.write_bytes(bytes(999) + b"\x01")
    with pytest.raises(WeightsError, match="SHA-256"):
        read_weights(path, manifest)


def test_weights_of_ones_own_are_taken_as_they_are(tmp_path: Path) -> None:
    own = tmp_path / "small.safetensors"
    own.write_bytes(b"mine")
    assert read_weights(own) == b"mine"


@pytest.mark.parametrize("name", [entry["name"] for entry in read_manifest()])
def test_what_ships_is_whole(name: str) -> None:
    assert read_weights(MANIFEST.with_name(name))
