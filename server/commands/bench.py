"""`python -m server bench`: what viewers and cameras cost, how much sound arrives, how late and synchronous
all is, and what a call takes of a sender's line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from model.errors import InputError
from server.settings import load_settings

PARTS = ("fanout", "camera", "sound", "uplink", "latency")

HELP = "measure the cost of viewers, the latency and the lip sync of the live pipeline on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--viewers", type=int, default=8, help="viewers of the fan-out measurement (default 8)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement (default 6)")
    parser.add_argument("--size", type=int, default=256, help="picture side of the fan-out, pixels (default 256)")
    parser.add_argument("--fps", type=float, help="pictures a second of the rendered face (default: the receiver's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument(
        "--engine", choices=("auto", "graphs", "torch"), help="what runs the networks (default: VISAVIS_ENGINE, auto)"
    )
    parser.add_argument("--only", choices=PARTS, help="measure one of these alone")
    parser.add_argument("--loss", type=float, default=15.0, help="percent of sound lost on its way in (default 15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Measure and print. Raises InputError, BenchmarkError."""
    if options.viewers < 2:
        raise InputError("--viewers must be at least 2: the cost of a further one is a difference")
    if not 1.0 <= options.seconds <= 600.0:
        raise InputError("--seconds must lie between 1 and 600")
    if options.size % 4 or not 64 <= options.size <= 1024:
        raise InputError("--size must be a multiple of 4 between 64 and 1024")
    if not 0.0 <= options.loss < 100.0:
        raise InputError("--loss must be at least 0 and below 100")
    if options.fps is not None and not 1.0 <= options.fps <= 60.0:
        raise InputError("--fps must lie between 1 and 60")
    figures = {} if options.only == "uplink" else asyncio.run(_measure(options))
    if options.only in (None, "uplink"):
        figures |= _measure_uplink(options.seconds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value}")
    return 0


def _progress(what: str) -> None:
    print(f"measuring: {what} ...", file=sys.stderr)


def _measure_uplink(seconds: float) -> dict[str, Any]:
    # On a loop of its own, which counts.
    from server.benchmark import uplink

    return uplink.measure(seconds, _progress)


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    # Imported late: `--help` and wrong arguments answer without loading torch.
    from model.device import choose_device
    from server.benchmark import camera_cost, fanout_cost, latency, sound_loss

    figures: dict[str, Any] = {}
    wanted = PARTS if options.only is None else (options.only,)
    if "fanout" in wanted:
        cost = await fanout_cost.measure(options.viewers, options.seconds, options.size, _progress)
        figures |= {
            "viewers": options.viewers,
            "size": options.size,
            "cpu_per_viewer_encode_once": round(cost.encode_once, 4),
            "cpu_per_viewer_encode_each": round(cost.encode_each, 4),
            "cpu_ratio": round(cost.encode_once / cost.encode_each, 3) if cost.encode_each > 0 else None,
        }
    if "camera" in wanted:
        camera = await camera_cost.measure(options.viewers, options.seconds, _progress)
        figures |= {
            "cpu_per_camera": round(camera.camera, 4),
            "cpu_per_camera_viewer": round(camera.viewer, 4),
            "cpu_first_viewer_of_another_codec": round(camera.other_codec, 4),
        }
    if "sound" in wanted:
        _progress("sound over a way that loses")
        figures |= {"loss_percent": options.loss} | await sound_loss.measure(options.seconds, options.loss / 100)
    if "latency" in wanted:
        _progress("latency and lip sync")
        settings = load_settings(engine=options.engine)
        device = str(choose_device(options.device))
        fps = options.fps or settings.render_fps
        figures |= await latency.measure(options.seconds, fps, device, settings.engine, settings.graph_threads)
    return figures
