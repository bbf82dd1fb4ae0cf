"""`python -m server.benchmark.network`: the whole table, or its short form. For `make bench-network`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from server.benchmark.network.call import standing_call
from server.benchmark.network.measuring import measure
from server.benchmark.network.report import announce, chosen, command_line, judged, show
from server.benchmark.network.scenarios import Scenario
from server.benchmark.network.talk import Materials
from server.benchmark.network.virtual_clocks import virtual_clocks
from server.benchmark.network.virtual_loop import VirtualLoop

SECONDS, SHORT_SECONDS = 24.0, 8.0
"""Virtual, of each call."""


def run(scenarios: Sequence[Scenario], seconds: float, seed: int) -> dict[str, dict[str, Any]]:
    """Figures by name of the scenario; each in a loop of its own, so that none depends on those before."""
    materials = Materials.load()
    results: dict[str, dict[str, Any]] = {}
    for scenario in scenarios:
        announce(scenario)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner, virtual_clocks(runner.get_loop().time):
            figures = runner.run(_measured(materials, scenario, seconds, seed))
        results[scenario.name] = judged(scenario, figures, results)
    return results


async def _measured(materials: Materials, scenario: Scenario, seconds: float, seed: int) -> dict[str, Any]:
    async with standing_call(materials, seed, scenario.voice) as call:
        return await measure(call, scenario, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON; 1 where a bound is missed."""
    options = command_line("python -m server.benchmark.network", __doc__).parse_args(arguments)
    seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)
    return show(run(chosen(options), seconds, options.seed), options.json)


if __name__ == "__main__":
    sys.exit(main())
