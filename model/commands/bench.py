"""`python -m model bench`: how fast this machine extracts, enrols and renders."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "time extract, enrol and render on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights to run (default: the embedded ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--repeats", type=int, default=50, help="timed calls of which the median is taken (default 50)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one line a figure, or JSON."""
    from model.bench import measure
    from model.device import choose_device
    from model.talking_head import TalkingHead

    result = measure(TalkingHead.load(options.weights, choose_device(options.device)), options.repeats)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:14} {value}")
    return 0
