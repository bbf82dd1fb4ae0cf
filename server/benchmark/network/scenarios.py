"""What a line does during a call, and what is asked for (issue targets as bounds)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.benchmark.network.link import LinkSettings

SETTLE_BOUND, SETTLE_SECONDS = 0.2, 3.0
"""Seconds that datagrams may wait at a bottleneck, and in which that has to be reached."""

LEAD = 3.0
"""Seconds: losses are reported once a second."""


@dataclass(frozen=True)
class Scenario:
    """A call of which one line changes once it stands. `bounds`: figure to (least, most)."""

    name: str
    sender: LinkSettings = field(default_factory=LinkSettings)
    viewer: LinkSettings = field(default_factory=LinkSettings)
    outage: float = 0.0  # seconds at the beginning in which nothing comes through on the sender's line
    moves: bool = False  # the sender's address changes
    lifted: bool = False  # after half of the time the lines are good again
    voice: bool = True
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    short: bool = False  # part of the short form
    lead: float = 0.0  # seconds after the change that are not measured: the sender does not know of it yet


def _loss(share: float, played: float, **line: Any) -> Scenario:
    burst = line.get("burst")
    name = f"loss {round(100 * share)} %" + (f" in bursts of {burst:g}" if burst else "")
    # Two packets of 80 ms that are lost one after the other, less what the frame before them waited to be shown.
    bounds = {"sound_played_percent": (played, 100.0), "picture_gap_ms": (0.0, 220.0), "uplink_share": (0.0, 1.6)}
    return Scenario(name, LinkSettings(loss=share, **line), bounds=bounds, short=share == 0.15 and not burst, lead=LEAD)


def _bottleneck(kbps: float, **options: Any) -> Scenario:
    name = f"bottleneck {kbps:g} kbit/s" + (", lifted" if options.get("lifted") else "")
    name += "" if options.get("voice", True) else ", no voice"
    bounds = {"settle_s": (0.0, SETTLE_SECONDS), "wait_ms_p95": (0.0, 1000 * SETTLE_BOUND)}
    return Scenario(name, LinkSettings(kbps=kbps), bounds=bounds, short=kbps == 32.0, **options)


GOOD = Scenario(
    "good line",
    bounds={"sound_played_percent": (98.0, 100.0), "picture_gap_ms": (0.0, 200.0)},
    short=True,
)

SCENARIOS: Sequence[Scenario] = (
    GOOD,
    _loss(0.05, 95.0),
    _loss(0.15, 85.0),
    _loss(0.30, 70.0),
    Scenario(
        "loss 15 % in bursts of 3",
        LinkSettings(loss=0.15, burst=3.0),
        lead=LEAD,
        bounds={"sound_played_percent": (75.0, 100.0)},
    ),
    Scenario(
        "jitter 30 ms, 5 % overtaken",
        LinkSettings(jitter=0.03, reorder=0.05),
        bounds={"sound_played_percent": (98.0, 100.0), "picture_gap_ms": (0.0, 200.0)},
    ),
    Scenario("outage 3 s", outage=3.0, bounds={"picture_back_s": (0.0, 0.5), "sound_back_s": (0.0, 0.5)}, short=True),
    Scenario("outage 6 s", outage=6.0, bounds={"picture_back_s": (0.0, 3.0), "sound_back_s": (0.0, 3.0)}),
    Scenario("address changes", moves=True, bounds={"picture_back_s": (0.0, 3.0), "sound_back_s": (0.0, 3.0)}),
    _bottleneck(64.0),
    _bottleneck(32.0),
    _bottleneck(20.0),
    _bottleneck(20.0, lifted=True),
    Scenario(
        "no voice, loss 15 %", LinkSettings(loss=0.15), voice=False, lead=LEAD, bounds={"picture_gap_ms": (0.0, 300.0)}
    ),
    Scenario("no voice, 32 kbit/s", LinkSettings(kbps=32.0), voice=False, bounds={"settle_s": (0.0, SETTLE_SECONDS)}),
    Scenario("no voice, 20 kbit/s", LinkSettings(kbps=20.0), voice=False, bounds={"settle_s": (0.0, SETTLE_SECONDS)}),
    Scenario(
        "viewer 150 kbit/s",
        viewer=LinkSettings(kbps=150.0),
        # Pictures take 800 kbit/s until then: once, sound waits behind them.
        bounds={"pictures_per_second": (12.0, 100.0), "sound_gap_ms": (0.0, 200.0)},
        short=True,
    ),
)


def misses(scenario: Scenario, figures: Mapping[str, Any]) -> list[str]:
    """The figures that are out of their bounds, each with its bound."""
    out = []
    for name, (least, most) in scenario.bounds.items():
        value = figures.get(name)
        if value is None or not least <= value <= most:
            bound = f"at least {least:g}" if value is not None and value < least else f"at most {most:g}"
            out.append(f"{name} {value} ({bound})")
    return out
