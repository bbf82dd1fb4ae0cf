"""Command line of the model: `python -m model COMMAND`; one module of `model/commands/` per command."""

from __future__ import annotations

import argparse
import importlib
import sys

from model.errors import VisavisError

COMMANDS = ("encode", "decode", "info", "prepare", "train", "evaluate", "rd", "bench", "weights")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 and one line on stderr for expected errors)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="visavis: a talking head as motion instead of pixels. The codec and the model as file tools.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        # Only the module of the command that runs is imported: training dependencies stay out of encode and decode.
        wanted = not arguments or arguments[0] in (name, "-h", "--help")
        module = importlib.import_module(f"model.commands.{name}") if wanted else None
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
