"""What the documents name is there: files, folders, links and headings; in the architecture classes, too."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "docs/experiments").glob("*.md"))
PRESENT = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "model/weights").glob("*.md"))]
"""Documents of today. Experiments tell the past and may name files that are gone, but their links hold."""

FOLDERS = ("client_web", "deploy", "docs", "model", "server", "tests")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+\.(?:py|js|mjs|json|yaml|toml|md)")
FOLDER = re.compile(r"[\w.-]+(?:/[\w.-]+)*/")
CLASS = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*")


@cache
def files() -> frozenset[str]:
    """All files of the project, relative to its root."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return frozenset(str(path.relative_to(ROOT)) for path in [*found, *ROOT.glob("*")] if path.is_file())


@cache
def classes() -> frozenset[str]:
    """Names of all classes of the code."""
    sources = (path.read_text() for folder in ("model", "server") for path in (ROOT / folder).rglob("*.py"))
    return frozenset(name for source in sources for name in re.findall(r"^ *class (\w+)", source, re.MULTILINE))


def outside_blocks(document: Path) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """What links to headings of a document may end with."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", [*PRESENT, *EXPERIMENTS], ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(outside_blocks(document)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("document", PRESENT, ids=name_of)
def test_files_and_folders_are_there(document: Path) -> None:
    """A file may be named by the end of its path, as `fanout.py` or `media/encoder.py`; a folder from the root."""
    for code in CODE.findall(outside_blocks(document)):
        if FILE.fullmatch(code):
            assert any(file == code or file.endswith(f"/{code}") for file in files()), code
        elif FOLDER.fullmatch(code):
            assert (ROOT / code).is_dir(), code


def test_classes_of_the_architecture_are_there() -> None:
    named = {code.partition(".")[0] for code in CODE.findall(outside_blocks(ROOT / "docs/architecture.md"))}
    assert {name for name in named if CLASS.fullmatch(name)} <= classes()


def test_every_experiment_is_in_the_index() -> None:
    index = set(LINK.findall((ROOT / "docs/experiments/README.md").read_text()))
    assert {page.name for page in EXPERIMENTS} - {"README.md"} <= index
