"""`python -m model rd`: rate-distortion of what a call sends against conventional codecs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from model.commands.evaluate import positive_count

HELP = "rate-distortion on a folder of clips: a call's face against H.264, H.265, VP9, AV1 and VVC"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rd`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--clips", type=Path, metavar="DIR", help="folder of clips, one person each")
    what.add_argument(
        "--published",
        action="store_true",
        help="measure nothing: print what docs/quality.md shows, write the page's table and the plot",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clips, by file name without suffix")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="model weights (default: the embedded ones)")
    parser.add_argument("--engine", choices=["auto", "graphs", "torch"], default="auto",
                        help="what runs the networks (default: compiled graphs where they run)")  # fmt: skip
    parser.add_argument("--size", type=int, choices=[256, 512], default=256, help="pixels of a side (default: 256)")
    parser.add_argument(
        "--max-frames", type=positive_count, default=250, metavar="N", help="frames of a clip (default: 250)"
    )
    parser.add_argument("--every", type=positive_count, default=1, metavar="N", help="score only each N-th frame")
    parser.add_argument("--vgg-every", type=positive_count, metavar="N",
                        help="LPIPS by VGG16, too, on each N-th scored frame (slow; default: left out)")  # fmt: skip
    parser.add_argument("--no-voice", action="store_true", help="a call without sound: motion takes the data channel")
    parser.add_argument("--codecs", nargs="+", metavar="NAME", help="only these (default: all that are there)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (PNG or SVG), e.g. out/rd.png")
    parser.add_argument(
        "--save", action="store_true", help="keep the means in docs/rate-distortion.json, after each clip"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Measure, print, plot."""
    if options.published:
        return _publish()

    import torch
    from tqdm import tqdm

    from model.evaluate import published_rates
    from model.evaluate.clips import find_clips
    from model.evaluate.plot import plot, require_matplotlib
    from model.evaluate.rate_distortion import measure, named, table
    from model.evaluate.survey import load_networks
    from model.talking_head import TalkingHead
    from model.teacher.landmarks import Teacher

    if options.plot:
        require_matplotlib()
    paths = find_clips(options.clips, options.only)
    head = TalkingHead.load(options.weights, engine=options.engine)
    with Teacher() as teacher, torch.inference_mode():
        networks = load_networks(teacher, _note, vgg_every=options.vgg_every)
        results = measure(
            head,
            tqdm(paths, unit="clip", file=sys.stderr, disable=None),
            networks,
            size=options.size,
            every=options.every,
            max_frames=options.max_frames,
            voice=not options.no_voice,
            codecs=named(options.codecs),
            say=_note,
        )
        for result in results:
            if options.save:
                published_rates.save(result)
    if options.plot:
        plot({f"{result.size} px": result.points}, options.plot, {f"{result.size} px": result.copy["lpips"]})
    print(json.dumps(asdict(result), indent=2) if options.json else table(result))
    return 0


def _publish() -> int:
    from model.evaluate import published_rates

    published = published_rates.read()
    published_rates.PAGE.write_text(published_rates.page_module(published))
    published_rates.draw(published)
    print(published_rates.markdown(published))
    return 0


def _note(line: str) -> None:
    print(line, file=sys.stderr)
