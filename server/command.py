"""The command `visavis`: the commands of `python -m model` and of `python -m server` under one name.

`pip install -e .` makes it. Both packages have a benchmark: `bench` times the model, `bench-call` a call.
"""

from __future__ import annotations

import model.__main__
import server.__main__
from model.command_line import run_command

COMMANDS = {
    **{name: module for name, module in server.__main__.COMMANDS.items() if name != "bench"},
    **model.__main__.COMMANDS,
    "bench-call": server.__main__.COMMANDS["bench"],
}
"""Names of the commands and their modules."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 and one line on stderr for expected errors)."""
    description = "visavis: video calls in which a face travels as motion. The call, the codec and the model."
    return run_command("visavis", description, COMMANDS, arguments)
