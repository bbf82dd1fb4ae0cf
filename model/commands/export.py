"""`python -m model export`: the sender's networks and constants as files that a browser reads."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write what a browser needs to send motion: networks as ONNX, constants, a manifest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--web", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights; the embedded ones by default")


def run(options: argparse.Namespace) -> int:
    """Print the folder's size."""
    from model.talking_head import load_trained
    from model.web_export import export_web

    export_web(load_trained(options.weights), options.web)
    total = sum(path.stat().st_size for path in options.web.glob("*.*"))
    print(f"{options.web}: {total / 1e6:.1f} MB")
    return 0
