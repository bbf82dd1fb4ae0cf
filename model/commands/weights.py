"""`python -m model weights`: list, verify and export weights; fetch the ones that evaluation and training need."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HELP = "list, verify, fetch or export weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Actions of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("list", help="weights of this installation, from the manifest")
    show.add_argument("--json", action="store_true", help="print JSON")
    actions.add_parser("verify", help="compare every weights file with the manifest's sha256")
    actions.add_parser("fetch", help="fetch the perceptual networks (training and evaluation only) and verify them")
    actions.add_parser("silhouette", help="make silhouette.safetensors anew from MediaPipe's package (`make teacher`)")
    actions.add_parser("landmarks", help="the same for landmarks.safetensors and face_detector.safetensors")
    export = actions.add_parser("export", help="make a weights file of a training checkpoint")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("out", type=Path)
    export.add_argument("--last", action="store_true", help="the last weights instead of their moving average")
    statistics = actions.add_parser("statistics", help="fit the codec's statistics of a weights file anew")
    statistics.add_argument("weights", type=Path)
    statistics.add_argument("out", type=Path)
    for action in (export, statistics):
        action.add_argument("--clips", type=Path, required=True, metavar="DIR", help="films for the codec's statistics")
        action.add_argument("--licence", choices=["open"], help="use films of the open class alone")
        action.add_argument("--licence-note", default="research and evaluation", help="licence line of the manifest")


def run(options: argparse.Namespace) -> int:
    """Carry out one action."""
    actions = {
        "list": _list,
        "verify": _verify,
        "fetch": _fetch,
        "silhouette": _silhouette,
        "landmarks": _landmarks,
        "export": _export,
        "statistics": _statistics,
    }
    return actions[options.action](options)


def _list(options: argparse.Namespace) -> int:
    from model.weights.manifest import read_manifest

    entries = read_manifest()
    if options.json:
        print(json.dumps(entries))
    else:
        for entry in entries:
            print(f"{entry['name']:24} {entry['bytes'] / 1e6:7.1f} MB  {entry['sha256'][:16]}  {entry['licence']}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from model.description import WEIGHTS
    from model.errors import WeightsError
    from model.weights.manifest import describe, read_manifest

    for entry in read_manifest():
        path = WEIGHTS.with_name(entry["name"])
        if not path.exists():
            raise WeightsError(f"{path} is missing")
        if describe(path)["sha256"] != entry["sha256"]:
            raise WeightsError(f"{path} differs from the manifest's sha256")
        print(f"{entry['name']} is as the manifest says")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from model.perceptual import weights as perceptual_weights

    perceptual_weights.fetch(download=True)
    print(f"perceptual networks are in {perceptual_weights.cache_path()}")
    return 0


def _silhouette(options: argparse.Namespace) -> int:
    from model.teacher.silhouette_weights import SILHOUETTE, fetch_silhouette
    from model.weights.manifest import describe, write_manifest

    fetch_silhouette(SILHOUETTE)
    entry = describe(SILHOUETTE)
    write_manifest(entry | {"licence": "Apache-2.0, MediaPipe selfie segmentation"})
    print(json.dumps(entry))
    return 0


def _landmarks(options: argparse.Namespace) -> int:
    from model.teacher import face_weights
    from model.weights import manifest

    networks = (
        (face_weights.LANDMARKS, manifest.LANDMARKS, "face mesh with attention"),
        (face_weights.FACE_DETECTOR, manifest.FACE_DETECTOR, "BlazeFace short range"),
    )
    for published, path, name in networks:
        face_weights.fetch(published, path)
        entry = manifest.describe(path)
        manifest.write_manifest(entry | {"licence": f"Apache-2.0, MediaPipe {name}"})
        print(json.dumps(entry))
    return 0


def _export(options: argparse.Namespace) -> int:
    from model.train.export import export
    from model.train.prepare import list_sources

    sources = list_sources(options.clips, options.licence)
    return _written(options, export(options.checkpoint, sources, options.out, options.last))


def _statistics(options: argparse.Namespace) -> int:
    from model.train.export import export_statistics
    from model.train.prepare import list_sources

    sources = list_sources(options.clips, options.licence)
    return _written(options, export_statistics(options.weights, sources, options.out))


def _written(options: argparse.Namespace, entry: dict[str, Any]) -> int:
    from model.weights.manifest import write_manifest

    write_manifest(entry | {"licence": options.licence_note})
    print(f"{options.out}: {entry['bytes'] / 1e6:.1f} MB, sha256 {entry['sha256']}")
    return 0
