"""`python -m server.benchmark.network`: the whole table, or its short form. For `make bench-network`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from server.benchmark.network.call import Materials
from server.benchmark.network.scenarios import GOOD, SCENARIOS, Scenario, measure, misses
from server.benchmark.network.virtual_clocks import virtual_clocks
from server.benchmark.network.virtual_loop import VirtualLoop

SECONDS, SHORT_SECONDS = 24.0, 8.0
"""Virtual, of each call."""

COLUMNS = {
    "uplink_kbps": "up",
    "downlink_kbps": "back",
    "viewer_kbps": "viewer",
    "sound_played_percent": "sound %",
    "sound_gap_ms": "gap ms",
    "pictures_per_second": "pict/s",
    "picture_gap_ms": "gap ms",
    "picture_age_ms": "age ms",
    "lip_sync_ms": "lips ms",
    "picture_back_s": "back s",
    "sound_back_s": "sound s",
    "wait_ms_p95": "wait ms",
    "settle_s": "settles",
}


def run(scenarios: Sequence[Scenario], seconds: float, seed: int) -> dict[str, dict[str, Any]]:
    """Figures by name of the scenario; each in a loop of its own, so that none depends on those before."""
    materials = Materials.load()
    results: dict[str, dict[str, Any]] = {}
    for scenario in scenarios:
        print(f"measuring: {scenario.name} ...", file=sys.stderr)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner, virtual_clocks(runner.get_loop().time):
            figures = runner.run(measure(materials, scenario, seconds, seed))
        if GOOD.name in results and scenario.voice:
            figures["uplink_share"] = round(figures["uplink_kbps"] / results[GOOD.name]["uplink_kbps"], 2)
        figures["misses"] = misses(scenario, figures)
        results[scenario.name] = figures
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown, a line a scenario."""
    lines = ["| line | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, figures in results.items():
        cells = ["" if figures.get(column) is None else f"{figures[column]:g}" for column in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m server.benchmark.network", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few lines, some seconds each")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="lines whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=None, help="virtual seconds of each call")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS if not options.short or scenario.short]
    if options.only:
        chosen = [scenario for scenario in chosen if any(word in scenario.name for word in options.only)]
    seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)
    results = run(chosen, seconds, options.seed)
    missed = {name: figures["misses"] for name, figures in results.items() if figures["misses"]}
    print(json.dumps(results) if options.json else table(results))
    for name, what in missed.items():
        print(f"missed: {name}: {'; '.join(what)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
