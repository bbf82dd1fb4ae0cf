"""Files that are either complete or not there."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.errors import InputError

_KEPT = 40
"""Characters of a name that its partial one keeps: a name of full length must not become too long."""


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends without an error.

    With an error what was written is removed and an older file at `path` stays. What runs that were killed left of the
    same file is removed. A link is followed. Raises InputError: before the block when `path` cannot become a file (a
    folder, a device, too long a name, no folder to write to), after it when the system refused to write.
    """
    place, partial = check_place(path)
    try:
        yield partial
        if partial.exists():
            partial.replace(place)
    except OSError as error:
        if error.filename not in (None, str(partial), str(place)):
            raise
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def check_place(path: Path) -> tuple[Path, Path]:
    """Where a file of that name comes to be, and the name beside it while it is written. Raises InputError."""
    try:
        place = path.resolve()
        if place.is_dir():
            raise InputError(f"{path} is a folder")
        if place.exists() and not place.is_file():
            raise InputError(f"{path} is a device or a pipe, not a file")
        if not place.parent.is_dir():
            raise InputError(f"{place.parent} is not a folder")
        partial = _partial(place)
        _remove_leftovers(place)
        partial.touch()  # says now what the system would say after the work
        partial.unlink()
        return place, partial
    except (OSError, RuntimeError, ValueError) as error:  # also a loop of links, and a zero byte in the name
        raise InputError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error})") from None


def _start(place: Path) -> str:
    # Names that are cut to the same beginning are told apart by their checksum.
    return f".{place.stem[:_KEPT]}.{zlib.crc32(os.fsencode(place.name)):08x}."


def _partial(place: Path) -> Path:
    """Name while it is written. The suffix stays last: containers are chosen by it."""
    if len(os.fsencode(place.name)) > os.pathconf(place.parent, "PC_NAME_MAX"):
        raise InputError(f"{place.name[:_KEPT]}... cannot be written (File name too long)")
    return place.with_name(f"{_start(place)}{os.getpid()}.partial{place.suffix}")


def _remove_leftovers(place: Path) -> None:
    """Remove the partial files of processes that are no more."""
    wanted = re.compile(re.escape(_start(place)) + r"(\d+)\.partial" + re.escape(place.suffix))
    for other in place.parent.iterdir():
        match = wanted.fullmatch(other.name)
        if match and not _lives(int(match[1])):
            with suppress(OSError):
                other.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
