"""`python -m server doctor`: can this machine take part in a call, as receiver and as sender?"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from model.errors import VisavisError
from server.settings import Settings, load_settings

HELP = "check this machine: versions, weights, encoders, devices, port, GPU"

Verdict = Literal["ok", "note", "fail"]
"""`note`: something is missing that a call can do without."""

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    verdict: Verdict
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `doctor`."""
    parser.add_argument("--port", type=int, help="port that `serve` is to use (default 8080)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """Check everything; exit status 0 when a call is possible, 1 when something needed is missing."""
    settings = load_settings(port=options.port)
    findings = [_guarded(name, check) for name, check in _checks(settings)]
    healthy = all(finding.verdict != "fail" for finding in findings)
    if options.json:
        print(json.dumps({"healthy": healthy, "checks": [asdict(finding) for finding in findings]}))
    else:
        print(table(findings))
    return 0 if healthy else 1


def table(findings: Iterable[Finding]) -> str:
    """One line per check."""
    return "\n".join(f"{finding.verdict:<5} {finding.check:<13} {finding.detail}" for finding in findings)


def _checks(settings: Settings) -> list[tuple[str, Callable[[], tuple[Verdict, str]]]]:
    return [
        ("python", check_python),
        ("torch", check_torch),
        ("gpu", lambda: check_gpu(settings.device)),
        ("engine", lambda: check_engine(settings.engine)),
        ("weights", lambda: check_weights(settings.weights)),
        ("encoders", check_encoders),
        ("port", lambda: check_port(settings.host, settings.port)),
        ("uvloop", check_uvloop),
        ("camera", check_camera),
        ("microphone", check_microphone),
    ]


def _guarded(name: str, check: Callable[[], tuple[Verdict, str]]) -> Finding:
    try:
        return Finding(name, *check())
    except VisavisError as error:
        return Finding(name, "fail", str(error))
    except (ImportError, PackageNotFoundError) as error:
        return Finding(name, "fail", f"{error} (make setup)")


def check_python() -> tuple[Verdict, str]:
    """The interpreter is new enough."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    needed = ".".join(str(part) for part in OLDEST_PYTHON)
    return ("ok", text) if sys.version_info >= OLDEST_PYTHON else ("fail", f"{text}; visavis needs {needed}")


def check_torch() -> tuple[Verdict, str]:
    """Torch and what else a call loads are there."""
    import torch

    packages = ("aiohttp", "aiortc", "av", "numpy", "pillow")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return "ok", f"{torch.__version__}, {torch.get_num_threads()} threads; {versions}"


def check_gpu(device: str) -> tuple[Verdict, str]:
    """A GPU, unless the settings ask for none."""
    import torch

    if torch.cuda.is_available():
        return "ok", torch.cuda.get_device_name()
    if device.startswith("cuda"):
        return "fail", f"VISAVIS_DEVICE is {device}, but torch sees no GPU"
    return "note", "none; the small model renders in real time on a CPU"


def check_engine(engine: str) -> tuple[Verdict, str]:
    """Compiled graphs can run, unless the settings ask for torch."""
    from model.graphs.runtime import GraphError, openvino

    if engine == "torch":
        return "ok", "torch, as VISAVIS_ENGINE says"
    try:
        return "ok", f"compiled graphs on a CPU, OpenVINO {openvino().__version__.partition('-')[0]}"
    except GraphError as error:
        return "fail" if engine == "graphs" else "note", f"torch; {error}"


def check_weights(path: Path | None) -> tuple[Verdict, str]:
    """The weights are there and whole, and all files are those of the manifest beside them, if there is one."""
    from model.description import WEIGHTS
    from model.talking_head import TalkingHead
    from model.weights.manifest import describe, read_manifest

    path = path or WEIGHTS
    model = TalkingHead.load(path)
    own = describe(path)
    detail = f"{path.name}, {own['bytes'] / 1e6:.1f} MB, profile {model.profile.name}, sha256 {own['sha256'][:12]}"
    for entry in read_manifest(path.with_name("manifest.json")):
        file = path.with_name(entry["name"])
        found = describe(file)["sha256"] if file.exists() else "nothing"
        if found != entry["sha256"]:
            wanted = entry["sha256"][:12]
            return (
                "fail",
                f"{detail}: {file.name} has sha256 {found[:12]}, the manifest {wanted}: damaged, or another one",
            )
    return "ok", detail


def check_encoders() -> tuple[Verdict, str]:
    """FFmpeg in PyAV has what the call encodes with."""
    import av
    from PIL import features

    needed = {"libvpx": "VP8", "libx264": "H.264", "libopus": "Opus"}
    missing = [label for name, label in needed.items() if name not in av.codecs_available]
    missing += [name for name in ("webp", "avif") if not features.check(name)]
    if missing:
        return "fail", f"missing: {', '.join(missing)}"
    return "ok", "VP8, H.264, Opus, WebP, AVIF"


def check_port(host: str, port: int) -> tuple[Verdict, str]:
    """Nobody listens on the port yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]") if host != "localhost" else "127.0.0.1", port))
        except OSError as error:
            return "fail", f"{host} port {port}: {error.strerror}; take another with --port or VISAVIS_PORT"
    return "ok", f"{host} port {port} is free"


def check_uvloop() -> tuple[Verdict, str]:
    """The faster event loop."""
    if find_spec("uvloop") is None:
        return "note", "not there; asyncio's own loop is about a tenth slower"
    return "ok", version("uvloop")


def check_camera() -> tuple[Verdict, str]:
    """A camera opens and gives a frame."""
    from server.sender.media.inputs import open_camera

    try:
        with open_camera("") as container:
            frame = next(container.decode(video=0))
            return "ok", f"{frame.width}x{frame.height}"
    except (VisavisError, OSError, StopIteration) as error:
        return "note", f"{error}; send a file or the portrait"


def check_microphone() -> tuple[Verdict, str]:
    """A microphone opens."""
    from server.sender.media.inputs import open_microphone

    try:
        with open_microphone() as container:
            return "ok", str(container.format.name)
    except (VisavisError, OSError) as error:
        return "note", f"{error}; calls go without sound"
