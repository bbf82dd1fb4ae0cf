"""`python -m server.benchmark.relay.start`: how long `make call` takes to show a face to who waits.

Rounds come in pairs: the first of a pair finds no compiled graphs on the disk, the second those of the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from model.errors import VisavisError
from server.benchmark.network.viewer import Viewer
from server.benchmark.processes import BenchmarkError, ended, free_port

_POLL = 0.1
"""Seconds."""

_PATIENCE = 120.0
"""Seconds until a face must be seen."""


async def start(cache: str) -> dict[str, float]:
    """Seconds of one start until its port is open, faces can be rendered, and the first picture of the talker has come.

    A viewer joins as soon as the port is open.

    cache: the folder in which graphs are kept. Raises BenchmarkError.
    """
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VISAVIS_")}
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "call", "--port", str(port)),
        env=inherited | {"XDG_CACHE_HOME": cache, "VISAVIS_LOG_LEVEL": "error"},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(_PATIENCE):
            address = f"http://127.0.0.1:{port}"
            opened = await _answers(http, f"{address}/healthz")
            ready, seen = await asyncio.gather(_answers(http, f"{address}/readyz"), _seen(http, address))
            return {"port_s": opened - began, "ready_s": ready - began, "face_s": seen - began}
    except TimeoutError:
        raise BenchmarkError(f"no face within {_PATIENCE:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await ended(process, 20.0)


async def _answers(http: aiohttp.ClientSession, url: str) -> float:
    """When it first answered with 200."""
    while True:
        with suppress(aiohttp.ClientError, OSError):
            async with http.get(url) as response:
                if response.status == 200:
                    return time.monotonic()
        await asyncio.sleep(_POLL)


async def _seen(http: aiohttp.ClientSession, address: str) -> float:
    """When the first picture came that shows what the talker's camera saw. Connects anew, as the page does."""
    while True:
        viewer = Viewer(http, address, "demo", time.monotonic)
        running, seeing = asyncio.create_task(viewer.run()), asyncio.create_task(viewer.watching.wait())
        try:
            await asyncio.wait([running, seeing], return_when=asyncio.FIRST_COMPLETED)
            if viewer.watching.is_set():
                return min(at for at, number in viewer.pictures if number in viewer.captured)
        finally:
            for task in (running, seeing):
                task.cancel()
            await asyncio.gather(running, seeing, return_exceptions=True)
            await viewer.close()
        await asyncio.sleep(10 * _POLL)  # more would be refused


async def measure(pairs: int) -> dict[str, dict[str, float]]:
    """Medians by `first` and `second`, with all that were measured."""
    starts: dict[str, list[dict[str, float]]] = {"first": [], "second": []}
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as cache:
            for found in starts.values():
                found.append(await start(cache))
    return {
        which: {name: round(statistics.median(one[name] for one in found), 2) for name in found[0]}
        | {f"{name}_most": round(max(one[name] for one in found), 2) for name in found[0]}
        for which, found in starts.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the medians as JSON."""
    parser = argparse.ArgumentParser(prog="python -m server.benchmark.relay.start", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="first and second starts (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(asyncio.run(measure(options.pairs))))
    except VisavisError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
