"""`python -m model decode`: a `.vav` file, or the folder of a recorded call, back to a video."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError

if TYPE_CHECKING:
    from model.clip.decoder import Decoded, ProgressCount
    from model.media.content_credentials import SigningFiles
    from model.talking_head import TalkingHead

CERTIFICATE, KEY = "VISAVIS_C2PA_CERTIFICATE", "VISAVIS_C2PA_KEY"

HELP = "render a .vav file or a recorded call to a video, from another angle or with another face if asked"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "input", type=Path, metavar="IN.vav", help="file that `encode` wrote, file or folder of a recording"
    )
    parser.add_argument("output", type=Path, metavar="OUT.mp4", help="video to write: H.264, sound as Opus")
    for name, what in (("yaw", "right of the image"), ("pitch", "up"), ("roll", "clockwise")):
        parser.add_argument(f"--{name}", type=_angle, default=0.0, metavar="DEG", help=f"turn the head further {what}")
    parser.add_argument("--source", type=Path, metavar="IMAGE", help="put the face of this image in its place")
    parser.add_argument("--size", type=int, metavar="PX", help="side of the pictures: from 257 on sharp ones (256)")
    parser.add_argument("--participant", metavar="WHO", help="of a recording's folder: this id or name alone")
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

    from model.talking_head import TalkingHead

    decode = _checked(options)
    head = TalkingHead.load(options.weights, engine="auto")
    with tqdm(desc="render", unit="frame", file=sys.stderr, leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        decoded = decode(head, progress)
    if not decoded.complete:
        print(f"{options.input} was cut: decoded up to the cut", file=sys.stderr)
    if options.json:
        size = head.profile.size if options.size is None else options.size
        figures = {"frames": decoded.frames, "seconds": decoded.seconds, "size": size, "complete": decoded.complete}
        print(json.dumps(figures))
    else:
        print(f"{options.output}: {decoded.frames} frames, {decoded.seconds:.2f} s")
    return 0


def _checked(options: argparse.Namespace) -> Callable[[TalkingHead, ProgressCount], Decoded]:
    """What is to be done once the model is there; everything that needs no model is checked now."""
    from model.clip.call import check_call, decode_call, single
    from model.clip.decoder import DecodeFiles, decode_clip
    from model.clip.recorded_room import read_recorded_room
    from model.codec.vav import read_vav
    from model.motion import View

    path, view, mark = options.input, View(options.yaw, options.pitch, options.roll), not options.no_mark
    signing = _signing(options)
    folder = path.is_dir()
    if options.participant is not None and not folder:
        raise InputError("--participant belongs to the folder of a recorded call")
    vav = None if folder else read_vav(path)
    if vav is not None and not vav.header.live:
        film = DecodeFiles.check(path, vav, options.output, options.source, signing)
        return lambda head, progress: decode_clip(head, film, view, progress, options.size, mark=mark)
    if options.source is not None:
        raise InputError("--source belongs to an encoded film: a recorded call keeps its faces")
    files = read_recorded_room(path, options.participant) if folder else [single(path)]
    check_call(files, options.output, signing)
    return lambda head, progress: decode_call(
        head, files, options.output, view, progress, options.size, mark=mark, signing=signing
    )


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
