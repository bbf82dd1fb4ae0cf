"""`python -m model decode`: a `.vav` file back to a video."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError

if TYPE_CHECKING:
    from model.media.content_credentials import SigningFiles

CERTIFICATE, KEY = "VISAVIS_C2PA_CERTIFICATE", "VISAVIS_C2PA_KEY"

HELP = "render a .vav file to a video, from another angle or with another face if asked"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("input", type=Path, metavar="IN.vav", help="file that `encode` wrote")
    parser.add_argument("output", type=Path, metavar="OUT.mp4", help="video to write: H.264, sound as Opus")
    for name, what in (("yaw", "right of the image"), ("pitch", "up"), ("roll", "clockwise")):
        parser.add_argument(f"--{name}", type=_angle, default=0.0, metavar="DEG", help=f"turn the head further {what}")
    parser.add_argument("--source", type=Path, metavar="IMAGE", help="put the face of this image in its place")
    parser.add_argument("--size", type=int, metavar="PX", help="side of the pictures: 256, or 512 for sharp ones (256)")
    parser.add_argument(
        "--no-mark",
        action="store_true",
        help="leave out the word 'rendered' or 'avatar' that is drawn upper right; without it nobody who sees the "
        "pictures is told that no camera took them",
    )
    for name, variable, what in (
        ("certificate", CERTIFICATE, "certificates of whoever signs the file (C2PA), the signer's first"),
        ("key", KEY, "their private key"),
    ):
        parser.add_argument(
            f"--sign-{name}",
            type=Path,
            metavar="PEM",
            default=os.environ.get(variable),
            help=f"{what} (default: {variable})",
        )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights to use (default: the embedded ones)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Decode and print what was written."""
    from tqdm import tqdm

    from model.clip.decoder import DecodeFiles, decode_clip
    from model.motion import View
    from model.talking_head import TalkingHead

    view = View(options.yaw, options.pitch, options.roll)
    files = DecodeFiles.read(options.input, options.output, options.source, _signing(options))
    head = TalkingHead.load(options.weights, engine="auto")
    with tqdm(desc="render", unit="frame", file=sys.stderr, leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        decoded = decode_clip(head, files, view, progress, options.size, mark=not options.no_mark)
    if not decoded.complete:
        print(f"{options.input} was cut: decoded up to the cut", file=sys.stderr)
    if options.json:
        size = head.profile.size if options.size is None else options.size
        figures = {"frames": decoded.frames, "seconds": decoded.seconds, "size": size, "complete": decoded.complete}
        print(json.dumps(figures))
    else:
        print(f"{options.output}: {decoded.frames} frames, {decoded.seconds:.2f} s")
    return 0


def _signing(options: argparse.Namespace) -> SigningFiles | None:
    """Who signs. Raises InputError when one of the two files is named without the other."""
    from model.media.content_credentials import SigningFiles

    if options.sign_certificate is None and options.sign_key is None:
        return None
    if options.sign_certificate is None or options.sign_key is None:
        raise InputError(f"signing needs both a certificate ({CERTIFICATE}) and its key ({KEY})")
    return SigningFiles(options.sign_certificate, options.sign_key)


def _angle(text: str) -> float:
    value = float(text)
    if not -90 <= value <= 90:
        raise argparse.ArgumentTypeError("must be within -90 and 90 degrees")
    return value
