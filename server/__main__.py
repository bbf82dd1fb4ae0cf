"""Command line of the live side: `python -m server COMMAND`; one module of `server/commands/` per command."""

from __future__ import annotations

import argparse
import importlib
import sys

from model.errors import VisavisError

COMMANDS = ("call", "serve", "send", "token", "doctor", "bench")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 and one line on stderr for expected errors)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="visavis: video calls in which a face travels as motion. The receiver, the sender and their tools.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        # Only the module of the command that runs is imported: minting a token does not load torch.
        wanted = not arguments or arguments[0] in (name, "-h", "--help")
        module = importlib.import_module(f"server.commands.{name}") if wanted else None
        summary = module.HELP if module else ""
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if module:
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except VisavisError as error:
        print(f"{parser.prog} {options.command}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
