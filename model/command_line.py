"""What every command line of visavis does: one module per command, errors mapped to exit statuses."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from model.errors import VisavisError


def run_command(
    program: str, description: str, commands: Mapping[str, str], arguments: Sequence[str] | None = None
) -> int:
    """Run one of `commands`, which maps the name of each to its module; return its exit status.

    `program` is how the user calls the command line. `arguments` default to the process's own. A module has `HELP`,
    `add_arguments(parser)` and `run(options)`, which returns the exit status. An expected error is one line on stderr
    and its own exit status, Ctrl-C is 130.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog=program, description=description)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module_name in commands.items():
        # Only the module of the command that runs is imported: encoding needs no training, minting a token no torch.
        wanted = not arguments or arguments[0] in (name, "-h", "--help")
        module = importlib.import_module(module_name) if wanted else None
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
