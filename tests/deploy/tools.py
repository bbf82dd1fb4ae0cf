"""The checkers of `make checkers`, and of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT

ENVIRONMENT = ROOT / ".venv-deploy" / "bin"
DEPLOY = ROOT / "deploy"
RECORDINGS = "/var/lib/visavis/recordings"
"""Where an image has recordings, if anywhere."""


def tool(name: str) -> str:
    """Its path; skips the test where it is not installed."""
    found = shutil.which(name, path=str(ENVIRONMENT)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: make checkers")
    return found


def environment_python(*modules: str) -> str:
    """The Python of `make checkers`, which has these modules; skips the test where it has not."""
    python = ENVIRONMENT / "python"
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) is None for name in sys.argv[1:]))"
    if not python.exists() or subprocess.run([python, "-c", code, *modules], check=False).returncode:
        pytest.skip(f"{' and '.join(modules)} are not installed: make checkers")
    return str(python)


def run(*command: str | Path, **environment: str) -> str:
    """Standard output of a checker that is content; what it says is the failure of the test."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
