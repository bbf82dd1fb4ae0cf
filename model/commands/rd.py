"""`python -m model rd`: rate-distortion of the motion stream against conventional codecs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from model.commands.evaluate import positive_count

HELP = "rate-distortion on a folder of clips: the motion stream against H.264, VP9 and AV1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rd`."""
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of clips, one person each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clips, by file name without suffix")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="model weights (default: the embedded ones)")
    parser.add_argument(
        "--max-frames", type=positive_count, default=250, metavar="N", help="frames of a clip (default: 250)"
    )
    parser.add_argument("--every", type=positive_count, default=1, metavar="N", help="score only each N-th frame")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (PNG or SVG), e.g. out/rd.png")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Measure, print, plot."""
    import torch
    from tqdm import tqdm

    from model.evaluate.clips import find_clips
    from model.evaluate.plot import plot, require_matplotlib
    from model.evaluate.rate_distortion import measure, table
    from model.evaluate.scoring import Networks
    from model.perceptual.networks import Lpips
    from model.talking_head import TalkingHead

    if options.plot:
        require_matplotlib()
    paths = find_clips(options.clips, options.only)
    head = TalkingHead.load(options.weights)
    with torch.inference_mode():
        progress = tqdm(paths, unit="clip", file=sys.stderr, disable=None)
        result = measure(head, progress, Networks(Lpips()), every=options.every, max_frames=options.max_frames)
    if options.plot:
        plot(result.points, options.plot, result.copy["lpips"])
    if options.json:
        print(json.dumps(asdict(result), indent=2))
    else:
        print(table(result))
    return 0
