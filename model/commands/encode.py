"""`python -m model encode`: a video of a talking head to a `.vav` file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from model.codec.quantise import nearest_step_index, step_factor
from model.window import eyes, mouth

_Item = TypeVar("_Item")

HELP = "encode a video of one talking head: a source image, then a few bytes of motion a frame, and the sound"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("input", type=Path, metavar="IN.mp4", help="video with one person in it")
    parser.add_argument("output", type=Path, metavar="OUT.vav", help="file to write")
    parser.add_argument("--step", type=_factor,
                        help="quantiser step; smaller is finer (0.42, coarser above 5 kbit/s)")  # fmt: skip
    parser.add_argument("--kbps", type=_factor, metavar="KBPS", help="coarsen the step until motion takes no more")
    parser.add_argument("--no-audio", action="store_true", help="leave the sound out")
    parser.add_argument("--source-frame", type=int, metavar="N", help="frame to take the source image from (chosen)")
    parser.add_argument("--source-quality", type=int, choices=range(101), metavar="0-100",
                        help="AVIF (75; 65 where the source image has 512 pixels)")  # fmt: skip
    for what, window in (("mouth", mouth), ("eye", eyes)):
        most = window.MAX_WINDOWS
        parser.add_argument(f"--{what}-windows", type=int, choices=range(most + 1), default=most,
                            help=f"{what} windows beside each source image, at most (%(default)s)")  # fmt: skip
    parser.add_argument("--reference", type=Path, metavar="REF.mkv", help="also write the coded crops, losslessly")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights to use (default: the embedded ones)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Encode and print what the file holds."""
    from tqdm import tqdm

    from model.clip.encoder import EncodeFiles, EncodeOptions, encode_clip
    from model.commands.info import describe_file, summary
    from model.talking_head import TalkingHead

    def progress(items: Iterable[_Item], what: str, total: int | None) -> Iterable[_Item]:
        return tqdm(items, what, total, unit="frame", file=sys.stderr, leave=False, disable=None)

    wanted = EncodeOptions(
        step_index=None if options.step is None else nearest_step_index(options.step),
        kbps=options.kbps,
        audio=not options.no_audio,
        source_frame=options.source_frame,
        source_quality=options.source_quality,
        mouth_windows=options.mouth_windows,
        eye_windows=options.eye_windows,
    )
    files = EncodeFiles.check(options.input, options.output, options.reference)
    head = TalkingHead.load(options.weights, engine="auto")
    vav, step_index = encode_clip(head, files, wanted, progress)
    figures = describe_file(vav) | {"step": round(step_factor(step_index), 4)}
    print(json.dumps(figures) if options.json else summary(figures))
    return 0


def _factor(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError("must be positive")
    return value
