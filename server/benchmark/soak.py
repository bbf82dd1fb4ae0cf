"""`make soak`: a call of two senders and four viewers for ten minutes, with a flood of each kind beside it in turn.

It shows that memory does not grow, that nothing is left over, and that the server answers throughout:
`python -m server.benchmark.soak --seconds 600`. Prints one JSON object; exit status 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np

from server.benchmark.flood import KINDS
from server.benchmark.processes import BenchmarkError

ROOM = "soak"
SENDERS = 2
VIEWERS = 4

SETTLE_SECONDS = 15.0
"""The call has come up by then; what is counted at the end is compared with what was there then."""

REST_SECONDS = 45.0
"""At the end, without floods: longer than any connection of theirs may live."""

PROBE_SECONDS = 0.1
MAX_SLOPE_MIB = 1.0
MAX_HEALTHZ_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """What the server's process holds at one time."""

    phase: str
    at: float  # monotonic seconds
    memory: float  # resident, MiB
    tasks: int
    descriptors: int


@dataclass
class Probes:
    """Seconds that /healthz took, by what was going on; a request that failed counts as infinite."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    late: dict[str, list[float]] = field(default_factory=dict)  # seconds by which this program itself was woken late

    def add(self, phase: str, seconds: float, late: float) -> None:
        """One more."""
        self.taken.setdefault(phase, []).append(seconds)
        self.late.setdefault(phase, []).append(late)

    def table(self) -> dict[str, dict[str, float]]:
        """Median and 99th percentile in milliseconds; and how late the machine woke this program, one like others.

        On a machine with too few free cores that lateness is in the answer's time, twice: here and in the server.
        """
        return {
            phase: {
                "count": len(taken),
                "p50_ms": _milliseconds(taken, 50),
                "p99_ms": _milliseconds(taken, 99),
                "machine_late_p99_ms": _milliseconds(self.late[phase], 99),
            }
            for phase, taken in self.taken.items()
        }


def _milliseconds(seconds: list[float], percentile: float) -> float:
    return round(1000 * float(np.percentile(seconds, percentile, method="higher")), 1)


def slope(samples: list[Sample]) -> float:
    """Growth of memory, MiB a minute: the median over all pairs (Theil and Sen), which a single step does not move.

    Of the second half of the time: caches fill and libraries load in the first.
    """
    half = [s for s in samples if s.at >= (samples[0].at + samples[-1].at) / 2]
    slopes = [
        60.0 * (later.memory - earlier.memory) / (later.at - earlier.at)
        for number, earlier in enumerate(half)
        for later in half[number + 1 :]
        if later.at - earlier.at >= (half[-1].at - half[0].at) / 4
    ]
    return median(slopes) if slopes else 0.0


def least(samples: list[Sample], phase: str, name: str) -> int:
    """The smallest count in that phase: requests in flight come and go, what is left over is in every sample."""
    return min(int(getattr(sample, name)) for sample in samples if sample.phase == phase)


class Soak:
    """One run."""

    def __init__(self, address: str, process: Process, progress: Callable[[str], None]) -> None:
        self._address = address
        self._process = process
        self._progress = progress
        self.phase = "starting"
        self.samples: list[Sample] = []
        self.probes = Probes()

    async def sample(self, http: aiohttp.ClientSession) -> Sample:
        """Look at the server's process."""
        async with http.get(f"{self._address}/metrics") as answer:
            text = await answer.text()
        tasks = re.search(r"^visavis_tasks (\S+)", text, re.MULTILINE)
        folder = Path(f"/proc/{self._process.pid}")
        resident = re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())
        assert tasks is not None
        assert resident is not None
        descriptors = len(list((folder / "fd").iterdir()))
        memory, count = int(resident.group(1)) / 1024, int(float(tasks.group(1)))
        sample = Sample(self.phase, time.monotonic(), memory, count, descriptors)
        self.samples.append(sample)
        return sample

    async def probe_forever(self, http: aiohttp.ClientSession) -> None:
        """Ask /healthz ten times a second, and look at the process every two seconds."""
        late = 0.0
        for count in itertools.count():
            phase, begin = self.phase, time.monotonic()
            try:
                async with asyncio.timeout(10), http.get(f"{self._address}/healthz") as answer:
                    await answer.read()
                taken = time.monotonic() - begin if answer.status == 200 else float("inf")
            except (aiohttp.ClientError, OSError, TimeoutError):
                taken = float("inf")
            self.probes.add(phase, taken, late)
            if count % 20 == 0:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    await self.sample(http)
            due = time.monotonic() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            late = max(0.0, time.monotonic() - due)

    async def flood(self, kind: str, seconds: float) -> None:
        """One attack from a process of its own."""
        self._progress(f"{kind}, {seconds:.0f} s")
        self.phase = kind
        command = (sys.executable, "-m", "server.benchmark.flood", kind, self._address, str(seconds))
        attacker = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
        try:
            async with asyncio.timeout(seconds + 60):
                _, errors = await attacker.communicate()
        except TimeoutError:
            attacker.kill()
            _, errors = await attacker.communicate()
        if attacker.returncode not in (0, -signal.SIGKILL):
            self._progress(f"{kind} ended with {attacker.returncode}: {errors.decode()[-300:].strip()}")


async def run(seconds: float, port: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The whole soak; JSON-ready figures. Raises BenchmarkError when the call does not come up."""
    # Two senders on any machine: what is tested here is what holds, not who is refused.
    environment = os.environ | {"VISAVIS_ADMIT_SHARE": "0", "VISAVIS_LOG_LEVEL": "warning"}
    address = f"http://127.0.0.1:{port}"
    serve = ("serve", "--host", "127.0.0.1", "--port", str(port))
    async with _process("-m", "server", *serve, env=environment) as server, aiohttp.ClientSession() as http:
        await _ready(http, address, server)
        soak = Soak(address, server, progress)
        async with contextlib.AsyncExitStack() as call:
            talkers = [
                ("send", "--server", address, "--room", ROOM, "--name", f"Talker {number + 1}", "--source", "portrait")
                for number in range(SENDERS)
            ]
            for talker in talkers:
                await call.enter_async_context(_process("-m", "server", *talker, env=environment, quiet=True))
            watching = ("-m", "server.benchmark.audience", address, ROOM, str(VIEWERS))
            audience = await call.enter_async_context(_process(*watching, env=environment, out=PIPE))
            pictures = _Pictures(audience)
            await pictures.first()
            progress("the call is up")
            probing = asyncio.create_task(soak.probe_forever(http))
            try:
                soak.phase = "call"
                await asyncio.sleep(SETTLE_SECONDS)
                settled, seen, since = await soak.sample(http), pictures.count, time.monotonic()
                rest = min(REST_SECONDS, seconds / 2)
                for kind in KINDS:
                    await soak.flood(kind, max(3.0, (seconds - SETTLE_SECONDS - rest) / len(KINDS)))
                progress(f"rest, {rest:.0f} s")
                soak.phase = "rest"
                await asyncio.sleep(rest)
                end = await soak.sample(http)
                fps = (pictures.count - seen) / (time.monotonic() - since) / (SENDERS * VIEWERS)
            finally:
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)
                pictures.stop()
        counted = [s for s in soak.samples if s.at >= settled.at]
    table = soak.probes.table()
    growth = slope(counted)
    broken = [f"/healthz during {phase}" for phase, row in table.items() if row["p99_ms"] > 1000 * MAX_HEALTHZ_SECONDS]
    broken += ["memory grows"] if growth > MAX_SLOPE_MIB else []
    broken += ["tasks are left"] if least(soak.samples, "rest", "tasks") > least(soak.samples, "call", "tasks") else []
    broken += (
        ["descriptors are left"]
        if least(soak.samples, "rest", "descriptors") > least(soak.samples, "call", "descriptors")
        else []
    )
    return {
        "seconds": round(end.at - settled.at),
        "memory_mib": {
            "settled": round(settled.memory),
            "most": round(max(s.memory for s in counted)),
            "end": round(end.memory),
            "slope_a_minute": round(growth, 2),
        },
        **{
            name: {
                "call": least(soak.samples, "call", name),
                "most": max(getattr(s, name) for s in counted),
                "rest": least(soak.samples, "rest", name),
            }
            for name in ("tasks", "descriptors")
        },
        "pictures_a_second": round(fps, 1),
        "healthz": table,
        "broken": broken,
    }


class _Pictures:
    """What the audience has received, from its lines."""

    def __init__(self, audience: Process) -> None:
        self._audience = audience
        self.count = 0
        self._some = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._audience.stdout is not None
        while line := await self._audience.stdout.readline():
            self.count = json.loads(line).get("pictures", self.count)
            if self.count:
                self._some.set()

    async def first(self) -> None:
        """Wait for the first picture. Raises BenchmarkError."""
        try:
            await asyncio.wait_for(self._some.wait(), 120)
        except TimeoutError:
            raise BenchmarkError("no picture reached the audience") from None

    def stop(self) -> None:
        """Read no more."""
        self._reading.cancel()


@asynccontextmanager
async def _process(
    *arguments: str, env: dict[str, str], out: int | None = None, quiet: bool = False
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, stdin=PIPE, stdout=out or DEVNULL, stderr=DEVNULL if quiet else None
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(http: aiohttp.ClientSession, address: str, server: Process) -> None:
    for _ in range(1200):
        if server.returncode is not None:
            raise BenchmarkError("the server did not start")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with http.get(f"{address}/readyz") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.1)
    raise BenchmarkError("the server is not ready after two minutes")


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 when a bound is broken."""
    parser = argparse.ArgumentParser(prog="python -m server.benchmark.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="length without the start (%(default)s)")
    parser.add_argument("--port", type=int, default=18099, help="port of the server on loopback (%(default)s)")
    options = parser.parse_args(arguments)

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    figures = asyncio.run(run(options.seconds, options.port, progress))
    print(json.dumps(figures, indent=1))
    return 1 if figures["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
