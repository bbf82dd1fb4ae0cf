"""Compiled graphs in the render engine's thread: there before the server is ready, and every way out is clean."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.child_process import ROOT, SECONDS, finish, start

ENGINE = """
import asyncio, json, signal, sys, threading
import numpy as np, torch
from model.motion import Motion, View
from model.talking_head import TalkingHead
from model.temporal_filter import FrameTime, TemporalFilter
from server.receiver.render_engine import RenderEngine
from tests.server.fakes import render_engine

async def main(ending):
    engine = render_engine(TalkingHead.random(engine="graphs", threads=2))
    await engine.start()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    state = await engine.enrol(np.zeros((engine.sizes[0], engine.sizes[0], 3), np.uint8))
    motion = Motion.from_vector(state.motion.to_vector()[0])
    waiting = asyncio.Semaphore(3)
    frame_time = FrameTime(TemporalFilter(), 0.0)

    async def keep_busy():
        while not stop.is_set():
            await waiting.acquire()
            engine.submit(state, motion, View(), frame_time, float("inf"), lambda _: waiting.release())

    busy = asyncio.create_task(keep_busy())
    while engine.statistics.rendered < 3:
        await asyncio.sleep(0.01)
    print("rendering", flush=True)
    await stop.wait()
    if ending == "close":
        busy.cancel()
        await engine.close()
    assert engine.statistics.failed == 0

asyncio.run(main(sys.argv[1]))
print("ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_graphs_run_ends_the_process(number: signal.Signals) -> None:
    with start(ENGINE, "close") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "rendering\n"
        process.send_signal(number)
        assert finish(process) == "ended\n"


@pytest.mark.slow
def test_an_engine_that_nobody_closes_does_not_abort_the_process() -> None:
    with start(ENGINE, "leave") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "rendering\n"
        process.send_signal(signal.SIGTERM)
        assert finish(process) == "ended\n"


@pytest.mark.slow
@pytest.mark.e2e
def test_serve_is_ready_with_its_graphs_and_stops() -> None:
    """/readyz answers once the graphs are there: nobody waits for a compiler in a call."""
    environment = os.environ | {"VISAVIS_ENGINE": "graphs", "OMP_NUM_THREADS": "1"}
    command = ("-m", "server", "serve", "--port", "0", "--random-weights", "--log-format", "json", "--device", "cpu")
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            messages: list[str] = []
            while not messages or "listening on" not in messages[-1]:
                messages.append(json.loads(process.stderr.readline())["message"])
            ready = re.compile("rendering (compiled|read) in")  # read: an earlier process has kept it
            assert any(ready.search(message) for message in messages)
            with urllib.request.urlopen(f"{messages[-1].split()[-1]}/readyz", timeout=30) as answer:
                assert answer.status == 200
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
            assert time.monotonic() - began < SECONDS / 2
        finally:
            process.kill()
