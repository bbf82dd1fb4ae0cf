"""Command line of the live side: `python -m server COMMAND`; one module of `server/commands/` per command."""

from __future__ import annotations

import sys

from model.command_line import run_command

COMMANDS = {
    name: f"server.commands.{name}"
    for name in ("call", "serve", "send", "view", "token", "invite", "rooms", "doctor", "bench")
}
"""Names of the commands and their modules."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 and one line on stderr for expected errors)."""
    description = "visavis: video calls in which a face travels as motion. The receiver, the sender and their tools."
    return run_command("python -m server", description, COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
