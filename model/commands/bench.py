"""`python -m model bench`: how fast this machine extracts, enrols, renders and codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from model.errors import InputError

HELP = "time extract, enrol, render and the codec on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights to run (default: the embedded ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--engine",
        choices=("auto", "graphs", "torch"),
        default="auto",
        help="what runs the networks; torch is measured beside it (default auto)",
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of either engine (default: their own choice)")
    parser.add_argument("--repeats", type=int, default=50, help="timed calls of which the median is taken (default 50)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one line a figure, or JSON."""
    import torch

    from model.bench import compare
    from model.device import choose_device
    from model.talking_head import TalkingHead

    if options.threads < 0:
        raise InputError("--threads must not be negative")
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    head = TalkingHead.load(options.weights, device, options.engine, options.threads)
    beside = head if head.engine == "torch" else TalkingHead.load(options.weights, device)
    result = compare(head, beside, options.repeats)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:14} {value}")
    return 0
