"""Files that are either complete or not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends without an error.

    What earlier runs left there when they were killed is removed first.

    With an error what was written is removed and an older file at `path` stays. Raises InputError when the folder of
    `path` does not exist or cannot be written to.
    """
    # The suffix stays last: containers are chosen by it.
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    if path.is_dir():
        raise InputError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent} cannot be written to")
    _remove_leftovers(path)
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what runs that were killed began to write for `path`: their process, named in the file, is gone."""
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\.partial{re.escape(path.suffix)}")
    for beside in path.parent.iterdir():
        match = pattern.fullmatch(beside.name)
        if match and beside.is_file() and not _runs(int(match.group(1))):
            beside.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process of that number is there; of somebody else's it cannot be told what it writes, so it counts."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
