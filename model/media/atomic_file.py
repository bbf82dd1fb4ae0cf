"""Files that are either complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends without an error.

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
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
