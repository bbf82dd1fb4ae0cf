"""The command line and the report that the benches in virtual and in real time share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from server.benchmark.network.scenarios import GOOD, SCENARIOS, Scenario, misses

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

Figures = dict[str, Any]


def judged(scenario: Scenario, figures: Figures, results: Mapping[str, Figures]) -> Figures:
    """The figures with the share of the good line's uplink, where `results` hold that, and what is out of bounds."""
    if GOOD.name in results and scenario.voice:
        figures = figures | {"uplink_share": round(figures["uplink_kbps"] / results[GOOD.name]["uplink_kbps"], 2)}
    return figures | {"misses": misses(scenario, figures)}


def table(results: Mapping[str, Figures], columns: Mapping[str, str] = COLUMNS) -> str:
    """Markdown, a line a scenario."""
    lines = ["| line | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures in results.items():
        cells = ["" if figures.get(column) is None else f"{figures[column]:g}" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def command_line(program: str, description: str | None) -> argparse.ArgumentParser:
    """The options of both."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--short", action="store_true", help="a few lines, some seconds each")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="lines whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=None, help="that are measured of each call")
    parser.add_argument("--json", action="store_true")
    return parser


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that the command line asks for."""
    return [
        scenario
        for scenario in SCENARIOS
        if (not options.short or scenario.short)
        and (not options.only or any(word in scenario.name for word in options.only))
    ]


def show(results: Mapping[str, Figures], as_json: bool, columns: Mapping[str, str] = COLUMNS) -> int:
    """Print the report, and on standard error what is out of bounds; the exit status, 1 where anything is."""
    print(json.dumps(results) if as_json else table(results, columns))
    missed = {name: figures["misses"] for name, figures in results.items() if figures["misses"]}
    for name, what in missed.items():
        print(f"missed: {name}: {'; '.join(what)}", file=sys.stderr)
    return 1 if missed else 0


def announce(scenario: Scenario) -> None:
    """On standard error."""
    print(f"measuring: {scenario.name} ...", file=sys.stderr)
