"""`python -m model prepare`: clips to training data."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.errors import InputError

HELP = "make training data from a folder of clips: square crops, teacher landmarks, head pose, manifest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--clips",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="folders of .mp4 clips; DIR.csv beside each lists people and licences",
    )
    parser.add_argument("--out", type=Path, required=True, help="where the prepared data goes")
    parser.add_argument("--stills", type=Path, nargs="+", default=[], metavar="DIR",
                        help="folders of photos, to be moved by their own landmarks")  # fmt: skip
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels (default: 256)")
    parser.add_argument("--every", type=int, help="keep each N-th frame (default: about 12.5 frames a second)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--licence", help="prepare clips of this licence class only, for example: open")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="NAME", help="drop this crop; may be repeated"
    )
    parser.add_argument("--fit-shape", action="store_true", help="make the mean face anew from these clips")


def run(options: argparse.Namespace) -> int:
    """Prepare and print what came of it."""
    from model.train import prepare

    if options.size % 2 or not 64 <= options.size <= 1024:
        raise InputError("--size must be an even number from 64 to 1024")
    if options.jobs < 1 or (options.every is not None and options.every < 1):
        raise InputError("--jobs and --every must be at least 1")
    clips = prepare.list_all_sources(options.clips, options.licence)
    stills = prepare.list_all_sources(options.stills, options.licence, "still")
    records = prepare.prepare_all(clips, options.out, options.size, options.every, options.jobs)
    if options.fit_shape:
        prepare.fit_shape(options.out, records)
    # Stills come second: moving them needs the mean face.
    records += prepare.prepare_all(stills, options.out, options.size, None, options.jobs)
    prepare.exclude(records, options.exclude)
    kept, dropped = prepare.write_manifest(options.out, records)
    sheet = Path("out") / "prepare" / f"{options.out.resolve().name}.png"
    prepare.contact_sheet(sheet, options.out, records)
    print(f"{kept} crops prepared in {options.out}, {dropped} dropped (see dropped.json); look at {sheet}")
    return 0
