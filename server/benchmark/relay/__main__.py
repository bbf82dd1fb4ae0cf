"""`python -m server.benchmark.relay`: calls of real processes over bad lines, in real time. For `make bench-relay`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from model.errors import VisavisError
from server.benchmark.network.measuring import measure
from server.benchmark.network.report import COLUMNS, announce, chosen, command_line, judged, show
from server.benchmark.network.scenarios import Scenario
from server.benchmark.relay.call import Server, one_port_server, standing_call

SECONDS, SHORT_SECONDS = 14.0, 8.0
"""Of each call."""

LATE_MS = 50.0
"""By which the relay may be woken late, one time in a hundred; above, the machine has become part of the line."""


async def run(
    server: Server, scenarios: Sequence[Scenario], seconds: float, seed: int, command: bool = False
) -> dict[str, dict[str, Any]]:
    """Figures by name of the scenario; each call has processes of its own, but for the server. Raises BenchmarkError.

    command: whether `python -m server send` is the sender.
    """
    results: dict[str, dict[str, Any]] = {}
    for scenario in scenarios:
        announce(scenario)
        async with standing_call(server, seed, scenario.voice, command) as call:
            figures = await measure(call, scenario, seconds) | call.machine()
        if (figures["relay_late_ms_p99"] or 0.0) > LATE_MS:
            print(f"the machine is too busy: {scenario.name} is not measured by its line alone", file=sys.stderr)
        results[scenario.name] = judged(scenario, figures, results)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON; 1 where a bound is missed, as on a machine that does other work, too."""
    parser = command_line("python -m server.benchmark.relay", __doc__)
    parser.add_argument("--command", action="store_true", help="`python -m server send --source portrait` sends")
    options = parser.parse_args(arguments)
    seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)

    async def measured() -> dict[str, dict[str, Any]]:
        async with one_port_server() as server:
            return await run(server, chosen(options), seconds, options.seed, options.command)

    try:
        results = asyncio.run(measured())
    except VisavisError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_status
    return show(results, options.json, COLUMNS | {"relay_late_ms_p99": "late ms", "load": "load"})


if __name__ == "__main__":
    sys.exit(main())
