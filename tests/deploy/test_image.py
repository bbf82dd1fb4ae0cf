"""The Dockerfile: read as Docker reads it, and held against what README and compose say of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.deploy.dockerfile import ROOT, in_context, read_dockerfile
from tests.deploy.tools import DEPLOY, RECORDINGS, run, tool

STAGES = read_dockerfile()
IMAGE = STAGES[-1]


def test_hadolint_is_content() -> None:
    run(tool("hadolint"), ROOT / "Dockerfile")


def test_everything_that_is_copied_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text()
    for stage in STAGES:
        for instruction in stage.all("COPY"):
            if instruction.value.startswith("--from="):
                assert instruction.words[0].removeprefix("--from=") in {other.name for other in STAGES}
                continue
            for source in instruction.words[:-1]:
                assert (ROOT / source).exists(), source
                assert in_context(source, ignored), f".dockerignore keeps {source} out"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("requirements.txt", True),
        ("model/weights/small.safetensors", True),
        ("client_web/call.css", True),
        ("README.md", False),
        ("deploy/visavis.env", False),
        ("tests/deploy/image.py", False),
        ("model/__pycache__/x.pyc", False),
        ("client_web/built/manifest.json", False),
        ("client_web/node_modules/x/index.js", False),
    ],
)
def test_the_context_is_the_code_alone(path: str, inside: bool) -> None:
    assert in_context(path, (ROOT / ".dockerignore").read_text()) == inside


def test_its_ports_are_those_that_everybody_names() -> None:
    assert IMAGE.last("EXPOSE").words == ["8080", "8443/udp"]
    assert IMAGE.last("ENV").pairs["VISAVIS_PORT"] == "8080"
    documents = [ROOT / "README.md", ROOT / "Dockerfile"]
    for document in documents:
        commands = re.findall(r"docker run (?!--gpus)(?:.|\\\n)*? visavis\b", document.read_text())
        assert commands, document
        for command in commands:
            assert re.findall(r"-p (\S+)", command) == ["8080:8080", "8443:8443/udp"], command
            assert "VISAVIS_UDP_PORT=8443" in command
    compose = (DEPLOY / "compose.yaml").read_text()
    assert "- 8443:8443/udp" in compose
    assert 'VISAVIS_UDP_PORT: "8443"' in compose


def test_it_runs_as_nobody_in_particular_and_stops_by_draining() -> None:
    assert int(IMAGE.last("USER").value) >= 10_000
    pairs = [pair for instruction in IMAGE.all("ENV") for pair in instruction.pairs.items()]
    assert ("XDG_CACHE_HOME", "/var/cache") in pairs
    owned = f"--owner={IMAGE.last('USER').value} /var/cache/visavis {RECORDINGS}"
    assert owned in IMAGE.all("RUN")[-1].value
    assert IMAGE.last("STOPSIGNAL").value == "SIGTERM"
    assert IMAGE.last("CMD").command == ["python", "-m", "server", "serve"]
    assert "/healthz" in IMAGE.last("HEALTHCHECK").command[-1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_image_builds_and_runs_without_docker() -> None:
    """It takes minutes, root, and two gigabytes of packages: only where it is asked for."""
    folder = os.environ.get("VISAVIS_IMAGE_FOLDER")
    if folder is None:
        pytest.skip("set VISAVIS_IMAGE_FOLDER to a folder with 8 GB free, as root with debootstrap")
    subprocess.run([sys.executable, "-m", "tests.deploy.image", folder], cwd=ROOT, check=True)
