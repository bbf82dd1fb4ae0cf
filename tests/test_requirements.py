"""The locks hold what the requirements files name, every package with its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKED = ("requirements", "requirements-dev", "requirements-train", "requirements-teacher", "requirements-deploy")
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def normal(name: str) -> str:
    """A package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(path: Path) -> dict[str, str]:
    """Version by package of a requirements file and of those that it includes."""
    text = path.read_text()
    found = {normal(name): version for name, version in PINNED.findall(text)}
    for other in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        found |= named(path.with_name(other))
    return found


@pytest.mark.parametrize("name", LOCKED)
def test_a_lock_agrees_with_its_requirements(name: str) -> None:
    lock = (ROOT / f"{name}.lock").read_text()
    locked = {normal(package): version for package, version in PINNED.findall(lock)}
    for package, version in named(ROOT / f"{name}.txt").items():
        assert package == "torch" or locked.get(package) == version, f"{package}: run `make lock`"
    assert "torch" not in locked
    assert not [package for package in locked if package.startswith(("nvidia-", "cuda-"))]


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_has_hashes(name: str) -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", (ROOT / f"{name}.lock").read_text(), flags=re.MULTILINE)
    packages = [entry for entry in entries if PINNED.match(entry)]
    assert packages
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in packages)
