"""Compiled graphs on disk, so that a second start neither traces, converts nor compares them again.

A file's name is a hash over everything that the graph depends on: weights, the code that defines and converts the
networks, the versions of the engine and of torch, the processor, the number of threads. Another of any of these is
another file, and nothing needs to be thrown away by hand. A file begins with the SHA-256 of the rest: a damaged one
is not given to the engine, which would read it with no check of its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from functools import cache
from pathlib import Path

from torch import nn

from model.errors import InputError
from model.media.atomic_file import complete_file

logger = logging.getLogger(__name__)

MAX_FILES = 24
"""Graphs that are kept, 8 MB the largest; those used longest ago go first. A process makes at most five."""

MAX_BYTES = 64 << 20
"""Of one file; a larger one is not read."""

_DIGEST = 32
_SUFFIX = ".graph"
_PACKAGE = Path(__file__).parents[1]
_CODE = ("motion.py", "keypoint_layout.py", "networks", "landmarks", "graphs")
"""What decides what a graph computes beside its weights: files and folders of `model/`."""


class GraphCache:
    """The compiled graphs of one set of weights. Where its folder cannot be used, nothing is found and nothing kept."""

    def __init__(self, folder: Path | None, *identity: str) -> None:
        """`folder`: None keeps nothing; `identity`: what else than code and processor the graphs depend on."""
        self._folder = folder
        self._identity = identity

    def read(self, name: str) -> bytes | None:
        """The graph of that name as the engine exported it; None where there is none that is whole."""
        if self._folder is None:
            return None
        path = self._path(name)
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            stored = path.read_bytes()
            os.utime(path)  # used now: the last to go
        except OSError:
            return None
        digest, graph = stored[:_DIGEST], stored[_DIGEST:]
        if hashlib.sha256(graph).digest() != digest:
            logger.warning("%s is damaged and is made again", path)
            return None
        return graph

    def write(self, name: str, graph: bytes) -> None:
        """Keep a graph; a folder that cannot be written to is no error."""
        if self._folder is None or len(graph) + _DIGEST > MAX_BYTES:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with complete_file(self._path(name)) as partial:
                partial.write_bytes(hashlib.sha256(graph).digest() + graph)
            self._sweep()
        except (OSError, InputError) as error:
            logger.info("compiled graphs are not kept: %s", error)

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        key = hashlib.sha256("\0".join((name, *self._identity, _code(), _processor())).encode()).hexdigest()
        return self._folder / f"{key}{_SUFFIX}"

    def _sweep(self) -> None:
        assert self._folder is not None
        ages = {path: path.stat().st_mtime for path in self._folder.glob(f"*{_SUFFIX}")}
        for path in sorted(ages, key=lambda p: ages[p], reverse=True)[MAX_FILES:]:
            path.unlink(missing_ok=True)


def default_folder() -> Path | None:
    """Where a user's programs keep what can be made again (XDG base directories); None where nobody says."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return Path(base) / "visavis" / "graphs"


def weights_digest(networks: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a network's parameters and buffers, in hex."""
    digest = hashlib.sha256()
    for name, tensor in networks.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    """SHA-256 over the sources that define what a graph computes."""
    digest = hashlib.sha256()
    for entry in _CODE:
        place = _PACKAGE / entry
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _processor() -> str:
    """The processor and what it can do, as the system says; a graph is compiled for these."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in reversed(lines) if ":" in line}
    told = [named.get(name, "") for name in ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")]
    return "\0".join([platform.system(), platform.machine(), str(os.cpu_count()), *told])
