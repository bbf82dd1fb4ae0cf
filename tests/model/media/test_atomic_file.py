"""Files that are complete or not there: places that cannot be written to, leftovers, a full disk."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.media.atomic_file import complete_file
from model.media.video import VideoWriter


def write(path: Path, data: bytes = b"new") -> None:
    with complete_file(path) as partial:
        partial.write_bytes(data)


def test_devices_and_pipes_are_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), pipe, link):
        with pytest.raises(InputError, match="device or a pipe"):
            write(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["n" * 256, "ü" * 128, "n" * 400 + ".mp4", "zero\0byte"])
def test_names_that_cannot_be_are_told_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError), complete_file(tmp_path / name):
        pytest.fail("the work began")


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 125 + ".mp4", "a:b.mp4"])
def test_names_of_full_length_work(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_leftovers_of_killed_runs_are_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out.vav"
    script = (
        "import os, signal, sys; from pathlib import Path; from model.media.atomic_file import complete_file\n"
        "with complete_file(Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    (left,) = tmp_path.iterdir()  # the second run removed the first one's
    ours = left.with_name(left.name.replace(left.name.split(".")[-3], str(os.getpid())))
    assert ours != left
    other = tmp_path / ".other.1.partial.vav"
    other.touch()
    write(path)
    assert sorted(tmp_path.iterdir()) == [other, path]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As a disk that is full after so many bytes: writing further fails (Python ignores the signal)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.vav"
    path.write_bytes(b"old")
    with file_size_limit(4096), pytest.raises(InputError, match=r"out\.vav cannot be written \(File too large\)"):
        write(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_a_video_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    pictures = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)

    def film() -> None:
        with complete_file(path) as partial, VideoWriter(partial, (64, 64), Fraction(25), lossless=True) as writer:
            for index, picture in enumerate(pictures):
                writer.frame(picture, Fraction(index, 25))

    with file_size_limit(65_536), pytest.raises(InputError, match="cannot be written"):
        film()
    assert list(tmp_path.iterdir()) == []
