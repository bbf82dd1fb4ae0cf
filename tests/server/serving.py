"""`serve` as a process of its own, with an untrained model unless told otherwise, on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def starting(*, trained: bool = False, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process as it was just started; its log, an object a line, comes on its error output."""
    model = () if trained else ("--random-weights",)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server", "serve", "--port", "0", *model, "--log-format", "json", "--device", "cpu"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running(
    *, trained: bool = False, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[dict[str, Any]], str]]:
    """The process once it listens; its log so far, and its address."""
    async with starting(trained=trained, **environment) as process:
        assert process.stderr is not None
        log: list[dict[str, Any]] = []
        while not log or "listening on" not in log[-1]["message"]:
            log.append(json.loads(await process.stderr.readline()))
        yield process, log, log[-1]["message"].split()[-1]
