"""`python -m model info`: what is in a `.vav` file, or what a profile costs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from model.codec.vav import Vav, read_vav
from model.errors import InputError

HELP = "show frames, seconds, bytes and kbit/s of a .vav file; or parameters and GMAC of a profile"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE.vav", help="file to describe")
    parser.add_argument("--profile", metavar="NAME", help="describe a model profile instead: small, paper")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one line a figure, a table, or JSON."""
    if (options.file is None) == (options.profile is None):
        raise InputError("give either a .vav file or --profile NAME")
    if options.profile is not None:
        return _profile(options.profile, options.json)
    figures = describe_file(read_vav(options.file))
    print(json.dumps(figures) if options.json else summary(figures))
    return 0


def describe_file(vav: Vav) -> dict[str, Any]:
    """Figures of a file: bytes of each part, motion at 25 frames a second, all rates in kbit/s."""
    header = vav.header
    bytes_motion, seconds = vav.motion_bytes, vav.seconds
    bytes_known = bytes_motion + vav.source_bytes + vav.window_bytes + vav.audio_bytes
    return {
        "frames": vav.frames,
        "seconds": round(seconds, 3),
        "fps": None if header.rate is None else round(float(header.rate), 3),
        "bytes_file": vav.file_bytes,
        "bytes_source": vav.source_bytes,
        "sources": len(vav.images),
        "bytes_windows": vav.window_bytes,
        "windows": len(vav.windows),
        "bytes_motion": bytes_motion,
        "bytes_audio": vav.audio_bytes,
        "bytes_container": vav.file_bytes - bytes_known,
        "bytes_per_frame": round(bytes_motion / vav.frames, 2) if vav.frames else None,
        # At 25 frames a second whatever the clip's own rate, so that clips can be compared.
        "kbps_motion": round(bytes_motion / vav.frames * 8 * 25 / 1000, 3) if vav.frames else None,
        "kbps_audio": round(vav.audio_bytes * 8 / 1000 / seconds, 3) if seconds else None,
        "kbps_total": round(vav.file_bytes * 8 / 1000 / seconds, 3) if seconds else None,
        "profile": header.profile,
        "keypoints": header.keypoints,
        "size": header.size,
        "weights": header.weights.hex(),
        "crop": [round(v, 1) for v in (header.crop_x, header.crop_y, header.crop_side)],
        "frame_size": [header.frame_width, header.frame_height],
        "complete": vav.complete,
        "recorded_call": header.live,
    }


def summary(figures: dict[str, Any]) -> str:
    """The figures as lines for a reader."""
    rate = "variable frame rate" if figures["fps"] is None else f"{figures['fps']:g} frames a second"
    lines = [f"{figures['frames']} frames, {figures['seconds']:.2f} s, {rate}"]
    if figures["frames"]:
        lines.append(
            f"motion   {figures['bytes_motion']:>9,} bytes   {figures['bytes_per_frame']:.1f} a frame, "
            f"{figures['kbps_motion']:.2f} kbit/s at 25 frames a second"
        )
    images = "once" if figures["sources"] == 1 else f"{figures['sources']} images"
    lines.append(f"source   {figures['bytes_source']:>9,} bytes   {images}")
    if figures["windows"]:
        lines.append(f"windows  {figures['bytes_windows']:>9,} bytes   {figures['windows']} windows")
    if figures["bytes_audio"]:
        lines.append(f"sound    {figures['bytes_audio']:>9,} bytes   {figures['kbps_audio']:.1f} kbit/s, Opus")
    lines.append(f"framing  {figures['bytes_container']:>9,} bytes")
    if figures["kbps_total"] is not None:
        lines.append(f"file     {figures['bytes_file']:>9,} bytes   {figures['kbps_total']:.1f} kbit/s, all included")
    lines.append(
        f"profile {figures['profile']}, {figures['keypoints']} keypoints, "
        f"{figures['size']} x {figures['size']} pixels, weights {figures['weights'][:12]}"
    )
    if "step" in figures:
        lines.append(f"quantiser step {figures['step']:g}")
    if not figures["complete"]:
        lines.append("the file was cut: these are the figures up to the cut")
    return "\n".join(lines)


def _profile(name: str, as_json: bool) -> int:
    from model.evaluate.describe import describe

    rows = describe(name)
    if as_json:
        print(json.dumps([{"module": r.name, "parameters": r.parameters, "gmac": round(r.gmac, 4)} for r in rows]))
        return 0
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}} {'parameters':>12} {'GMAC':>9}")
    for row in rows:
        print(f"{row.name:{width}} {row.parameters:>12,} {row.gmac:>9.3f}")
    return 0
