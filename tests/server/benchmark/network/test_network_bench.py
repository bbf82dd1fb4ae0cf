"""The network bench in its short form: real connections in virtual time, equal on every run, within their bounds."""

from __future__ import annotations

import asyncio
import time

import pytest

from server.benchmark.network.__main__ import SHORT_SECONDS, run
from server.benchmark.network.report import table
from server.benchmark.network.scenarios import GOOD, SCENARIOS
from server.benchmark.network.virtual_loop import VirtualLoop


def test_time_passes_as_fast_as_nothing_happens() -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(*(asyncio.sleep(seconds) for seconds in (3600.0, 10.0)))
        return loop.time() - before

    began = time.process_time()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(wait()) == pytest.approx(3600.0)
    assert time.process_time() - began < 60.0


@pytest.mark.slow
@pytest.mark.e2e
def test_calls_over_bad_lines_are_as_good_as_promised() -> None:
    short = [scenario for scenario in SCENARIOS if scenario.short]
    results = run(short, SHORT_SECONDS, seed=1)
    assert {name: figures["misses"] for name, figures in results.items()} == {s.name: [] for s in short}
    assert len(table(results).splitlines()) == len(short) + 2
    again = run([GOOD], SHORT_SECONDS, seed=1)
    assert again[GOOD.name] == results[GOOD.name], "a run can be repeated"
