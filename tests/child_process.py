"""Python code in a process of its own, with a time limit: for what must not happen in the test's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 120
"""Time that a child may take; a busy machine compiles for half a minute."""


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The code as a running process: its output is a pipe, `sys.argv[1:]` the arguments.

    A traceback of every thread goes to its error output, and the process ends, before the caller's patience does.
    """
    guard = (
        f"import faulthandler; faulthandler.enable(); faulthandler.dump_traceback_later({SECONDS - 10}, exit=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", guard + code, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Its output once it has ended well; the test fails otherwise, and the process is gone in any case."""
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"the process did not end:\n{output}\n{errors}") from None
    assert process.returncode == 0, f"status {process.returncode}:\n{output}\n{errors}"
    return output


def report(code: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run the code to its end; the JSON object on its last line of output."""
    found: dict[str, Any] = json.loads(finish(start(code, *arguments, **environment)).splitlines()[-1])
    return found
