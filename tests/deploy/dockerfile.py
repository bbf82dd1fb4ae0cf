"""The Dockerfile as stages of instructions, and which files of the repository its COPY may see."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

INSTRUCTIONS = (
    "FROM",
    "ARG",
    "ENV",
    "WORKDIR",
    "COPY",
    "RUN",
    "USER",
    "EXPOSE",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "CMD",
)


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, with those that continue it."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value's words; none of ours is quoted."""
        return self.value.split()

    @property
    def command(self) -> list[str]:
        """The arguments of CMD, or of the CMD in a HEALTHCHECK, in the form of a JSON list."""
        parsed: list[str] = json.loads(self.value[self.value.index("[") :])
        return parsed

    @property
    def pairs(self) -> dict[str, str]:
        """What ENV and ARG set."""
        return {name: value for name, _, value in (word.partition("=") for word in self.words)}


@dataclass
class Stage:
    """One FROM and what follows it."""

    image: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Its instructions of one name."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> Instruction:
        """The one that counts, of those that replace each other."""
        return self.all(name)[-1]


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    """The stages. Raises ValueError at an instruction that is not known here."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    text = re.sub(r"\\\n\s*", " ", text)
    stages: list[Stage] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, _, value = line.partition(" ")
        if name not in INSTRUCTIONS:
            raise ValueError(f"{path}: {name} is not known here")
        if name == "FROM":
            image, *named = value.split()
            stages.append(Stage(image, named[1] if named else None))
        else:
            stages[-1].instructions.append(Instruction(name, value.strip()))
    return stages


def in_context(path: str, ignored: str) -> bool:
    """Whether the lines of a .dockerignore leave `path` in: the last line that matches it or a folder above decides.

    `*` matches within a name, `**` any number of folders, as in Docker's documentation.
    """
    inside = True
    for line in filter(None, (line.strip() for line in ignored.splitlines())):
        pattern, keeps = (line[1:], True) if line.startswith("!") else (line, False)
        expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(rf"{expression}(?:/.*)?", path):
            inside = keeps
    return inside
