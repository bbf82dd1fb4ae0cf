"""Compiled graphs on disk: found again, told apart, never trusted when damaged, bounded in number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from model.graphs import cache
from model.graphs.cache import GraphCache, default_folder, weights_digest
from model.media.atomic_file import check_place


def test_what_was_written_is_found_by_the_same_identity_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "graphs"
    kept = GraphCache(folder, "weights", "2 threads")
    assert kept.read("rendering") is None
    kept.write("rendering", b"graph")
    assert GraphCache(folder, "weights", "2 threads").read("rendering") == b"graph"
    assert kept.read("extraction") is None
    assert GraphCache(folder, "other weights", "2 threads").read("rendering") is None
    assert GraphCache(folder, "weights", "1 thread").read("rendering") is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.suffix for path in folder.iterdir()] == [".graph"]


@pytest.mark.parametrize("changed", ["_code", "_processor"])
def test_other_code_or_another_processor_makes_its_own(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = GraphCache(tmp_path)
    kept.write("rendering", b"graph")
    monkeypatch.setattr(cache, changed, lambda: "another")
    assert kept.read("rendering") is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_not_used(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = GraphCache(tmp_path)
    kept.write("rendering", b"graph" * 100)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes({"cut": bytes(data[:80]), "flipped": bytes(data), "empty": b""}[damage])
    assert kept.read("rendering") is None
    assert "is damaged" in caplog.text
    kept.write("rendering", b"again")
    assert kept.read("rendering") == b"again"


def test_a_large_file_is_neither_written_nor_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = GraphCache(tmp_path)
    kept.write("rendering", b"graph" * 100)
    monkeypatch.setattr(cache, "MAX_BYTES", 100)
    assert kept.read("rendering") is None
    kept.write("extraction", b"graph" * 100)
    assert len(list(tmp_path.iterdir())) == 1


def test_those_used_longest_ago_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 3)
    kept = GraphCache(tmp_path)
    for number in range(3):
        kept.write(str(number), b"graph")
        for path in tmp_path.iterdir():  # an hour goes by
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    assert kept.read("0") is not None
    kept.write("3", b"graph")
    assert [name for name in "0123" if kept.read(name) is not None] == ["0", "2", "3"]


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for kept in (GraphCache(None), GraphCache(tmp_path / "file" / "graphs")):
        kept.write("rendering", b"graph")
        assert kept.read("rendering") is None


def test_a_run_that_was_killed_leaves_nothing_for_good(tmp_path: Path) -> None:
    kept = GraphCache(tmp_path)
    kept.write("rendering", b"graph")
    (path,) = tmp_path.iterdir()
    _, partial = check_place(path)
    partial.with_name(partial.name.replace(str(os.getpid()), "999999999")).write_bytes(b"half")
    kept.write("rendering", b"again")
    assert list(tmp_path.iterdir()) == [path]
    assert kept.read("rendering") == b"again"


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "visavis" / "graphs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "visavis" / "graphs"


def test_weights_are_told_apart_by_value_and_by_name() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert weights_digest(one) == weights_digest(other)
    with torch.no_grad():
        other.weight[0, 0] += 1
    assert weights_digest(one) != weights_digest(other)
    assert weights_digest(nn.Sequential(one)) != weights_digest(one)
