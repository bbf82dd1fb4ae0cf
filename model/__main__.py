"""Command line of the model: `python -m model COMMAND`; one module of `model/commands/` per command."""

from __future__ import annotations

import sys

from model.command_line import run_command

_NAMES = ("encode", "decode", "info", "prepare", "train", "train-eyes", "evaluate", "rd", "bench", "weights", "export")

COMMANDS = {name: f"model.commands.{name.replace('-', '_')}" for name in _NAMES}
"""Names of the commands and their modules."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 and one line on stderr for expected errors)."""
    description = "visavis: a talking head as motion instead of pixels. The codec and the model as file tools."
    return run_command("python -m model", description, COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
