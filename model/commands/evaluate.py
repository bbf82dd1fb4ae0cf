"""`python -m model evaluate`: picture metrics of a model on a folder of clips."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from model.window.mouth import MAX_WINDOWS

if TYPE_CHECKING:
    from model.evaluate.scoring import Networks
    from model.talking_head import TalkingHead

HELP = "measure the model on a folder of clips against baselines: one frame as source, the rest drives"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evaluate`."""
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of clips, one person each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clips, by file name without suffix")
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="weights or the checkpoint of a training run (default: the embedded ones)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="device of the model: auto, cpu or cuda (default: cpu)")
    parser.add_argument("--every", type=positive_count, default=1, metavar="N", help="score only each N-th frame")
    parser.add_argument("--max-frames", type=positive_count, metavar="N", help="read at most N frames of a clip")
    parser.add_argument(
        "--sheets",
        type=Path,
        default=Path("out/evaluate"),
        metavar="DIR",
        help="folder for contact sheets of reconstruction, reenactment and free view (default: out/evaluate)",
    )
    parser.add_argument("--source", choices=["chosen", "first", "closed"], default="chosen",
                        help="source image: as `encode` does, the first with a face, or with closed lips")  # fmt: skip
    parser.add_argument("--engine", choices=["auto", "graphs", "torch"], default="auto",
                        help="what runs the networks (default: compiled graphs where they run)")  # fmt: skip
    parser.add_argument("--call", action="store_true", help="also as a call sends it, without and with 5 %% loss")
    parser.add_argument("--size", type=int, choices=[256, 512], default=256,
                        help="512: sharp pictures against enlarged ones, on clips that have the pixels")  # fmt: skip
    parser.add_argument("--mouth-windows", type=int, choices=range(1, MAX_WINDOWS + 1), metavar="N",
                        help="what N mouth windows gain over a source image of as many bytes")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="reconstruction only: no sheets, no free view")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Evaluate, print, and write the sheets."""
    import torch
    from tqdm import tqdm

    from model.device import choose_device
    from model.evaluate.clips import SOURCES, find_clips
    from model.evaluate.evaluate import table
    from model.evaluate.survey import load_networks, survey
    from model.talking_head import TalkingHead
    from model.teacher.landmarks import Teacher
    from model.train.export import head_of_checkpoint

    paths = find_clips(options.clips, options.only)
    device = choose_device(options.device)
    if options.weights and options.weights.suffix == ".pt":
        head = head_of_checkpoint(options.weights, device)
    else:
        head = TalkingHead.load(options.weights, device, options.engine)
    if options.size != head.profile.size:
        return _sharpness(head, paths, options)
    with Teacher() as teacher, torch.inference_mode():
        networks = load_networks(teacher, _note)
        progress = tqdm(paths, unit="clip", file=sys.stderr, disable=None)
        if options.mouth_windows is not None:
            return _mouth_windows(head, progress, networks, options)
        figures = survey(
            head,
            progress,
            networks,
            every=options.every,
            max_frames=options.max_frames,
            with_source=SOURCES[options.source],
            in_call=options.call,
            sheets=None if options.quick else options.sheets,
            say=tqdm.write if not options.json else _note,
        )
    if options.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(table(figures))
    view = {name: value for name, value in figures.get("free_view", {}).items() if name != "grid"}
    rest = {"lpips_share": figures["lpips_share"], "flicker_share": figures["flicker_share"], **view}
    rest |= {f"cross_{name}": value for name, value in figures.get("cross", {}).items()}
    print("  ".join(f"{name} {value:.3f}" for name, value in rest.items() if value is not None))
    return 0


def _mouth_windows(head: TalkingHead, paths: Iterable[Path], networks: Networks, options: argparse.Namespace) -> int:
    from model.evaluate.clips import SOURCES
    from model.evaluate.mouth_windows import table, windows_gain

    figures = windows_gain(
        head,
        paths,
        networks,
        options.mouth_windows,
        SOURCES[options.source],
        every=options.every,
        max_frames=options.max_frames,
        sheets=None if options.quick else options.sheets,
        say=_note,
    )
    print(json.dumps(figures, indent=2) if options.json else table(figures))
    return 0


def _sharpness(head: TalkingHead, paths: list[Path], options: argparse.Namespace) -> int:
    import torch

    from model.evaluate.sharpness import sharpness
    from model.perceptual.networks import Lpips

    sheets = None if options.quick else options.sheets
    with torch.inference_mode():
        figures = sharpness(
            head, paths, Lpips(), every=options.every, max_frames=options.max_frames, sheets=sheets, say=_note
        )
    if options.json:
        print(json.dumps(figures, indent=2))
        return 0
    rows = figures["clips"] | {"mean": {name: figures[name] for name in next(iter(figures["clips"].values()))}}
    for clip, scores in rows.items():
        print(f"{clip:24}" + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    print(f"LPIPS {figures['lpips_share']:.3f} of the enlarged picture's")
    return 0


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def positive_count(text: str) -> int:
    """Type of an argument that counts from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
