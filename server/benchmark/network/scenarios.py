"""What a line does during a call, what is measured of it, and what is asked for (issue targets as bounds)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.benchmark.network.call import Call, Materials, standing_call
from server.benchmark.network.figures import (
    heard,
    longest_gap,
    longest_silence,
    middle,
    percentile,
    settled,
    share_played,
)
from server.benchmark.network.link import LinkSettings

SETTLE_BOUND, SETTLE_SECONDS = 0.2, 3.0
"""Seconds that datagrams may wait at a bottleneck, and in which that has to be reached."""

LEAD = 3.0
"""Seconds: losses are reported once a second."""

_TAIL = 1.2
"""Seconds after the end in which what was sent until then may still come."""


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
    bounds = {"sound_played_percent": (played, 100.0), "picture_gap_ms": (0.0, 200.0), "uplink_share": (0.0, 1.6)}
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
        bounds={"pictures_per_second": (12.0, 100.0), "sound_gap_ms": (0.0, 100.0)},
    ),
)


async def measure(materials: Materials, scenario: Scenario, seconds: float, seed: int) -> dict[str, Any]:
    """Run one call; JSON-ready figures of `seconds` from when the line changed, after an outage from when it ended."""
    loop = asyncio.get_running_loop()
    async with standing_call(materials, seed, LinkSettings(), scenario.voice) as call:
        await asyncio.sleep(2.0)
        for line in (call.sender_line, call.viewer_line):
            line.counted.clear()
        changed = loop.time()
        call.sender_line.configure(scenario.sender)
        call.viewer_line.configure(scenario.viewer)
        if scenario.moves:
            call.sender_line.move()
        if scenario.outage:
            call.sender_line.cut()
            await asyncio.sleep(scenario.outage)
            call.sender_line.cut(whole=True)
        await asyncio.sleep(scenario.lead)
        began = loop.time()
        await asyncio.sleep(seconds / 2 if scenario.lifted else seconds)
        if scenario.lifted:
            call.sender_line.configure(LinkSettings())
            call.viewer_line.configure(LinkSettings())
            await asyncio.sleep(seconds / 2)
        ended = loop.time()
        traffic = _traffic(call, ended - changed)
        status = call.daemon.status()
        await asyncio.sleep(_TAIL)
        figures = _figures(call, began, ended) | traffic
        figures["reconnects"] = status.reconnects
        for name, line, settings in (
            ("wait", call.sender_line, scenario.sender),
            ("viewer_wait", call.viewer_line, scenario.viewer),
        ):
            if settings.kbps is not None:
                waits = (line.up if name == "wait" else line.down).waits
                later = [wait for when, wait in waits if when >= began + SETTLE_SECONDS]
                figures[f"{name}_ms_p95"] = _ms(percentile(later, 0.95))
                figures[f"{name}_ms_most"] = _ms(max((wait for _, wait in waits), default=0.0))
                if name == "wait":
                    figures["settle_s"] = settled(waits, began, SETTLE_BOUND)
        return figures


def _traffic(call: Call, elapsed: float) -> dict[str, Any]:
    def parts(counter: Counter[str]) -> dict[str, float]:
        return {kind: round(8e-3 * count / elapsed, 1) for kind, count in sorted(counter.items())}

    sender, viewer = call.sender_line.counted, call.viewer_line.counted
    return {
        "uplink_kbps": round(8e-3 * sender.up.total() / elapsed, 1),
        "uplink_parts": parts(sender.up),
        "downlink_kbps": round(8e-3 * sender.down.total() / elapsed, 1),
        "downlink_parts": parts(sender.down),
        "viewer_kbps": round(8e-3 * viewer.down.total() / elapsed, 1),
        "viewer_parts": parts(viewer.down),
    }


def _figures(call: Call, began: float, ended: float) -> dict[str, Any]:
    viewer = call.viewer
    new = [(at, viewer.captured[number]) for at, number in viewer.pictures if number in viewer.captured]
    pictures = [(at, captured) for at, captured in new if began <= at <= ended]
    every = heard(call.log.spoken, viewer.sound)
    pieces = [piece for piece in every if began <= piece.captured <= ended]
    picture_age = middle([at - captured for at, captured in pictures])
    sound_age = middle([piece.came for piece in pieces if piece.came is not None and not piece.again])
    first_picture = next((at for at, captured in pictures if captured >= began), None)
    first_sound = next((p.captured + p.came for p in pieces if p.came is not None), None)
    figures: dict[str, Any] = {
        "pictures_per_second": round(len(pictures) / (ended - began), 1),
        "picture_gap_ms": _ms(longest_gap([at for at, _ in pictures], began, ended)),
        "picture_age_ms": _ms(picture_age),
        "picture_age_ms_p95": _ms(percentile([at - captured for at, captured in pictures], 0.95)),
        "picture_back_s": None if first_picture is None else round(first_picture - began, 2),
        "keyframes_asked": viewer.keyframes_asked,
    }
    if pieces:
        figures |= {
            "sound_played_percent": round(100 * share_played(pieces), 1),
            "sound_by_fec_percent": round(100 * sum(piece.again for piece in pieces) / len(pieces), 1),
            "sound_gap_ms": _ms(longest_silence(pieces)),
            "sound_age_ms": _ms(sound_age),
            "sound_back_s": None if first_sound is None else round(first_sound - began, 2),
            "lip_sync_ms": None if picture_age is None or sound_age is None else _ms(sound_age - picture_age),
        }
    return figures


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds)


def misses(scenario: Scenario, figures: Mapping[str, Any]) -> list[str]:
    """The figures that are out of their bounds, each with its bound."""
    out = []
    for name, (least, most) in scenario.bounds.items():
        value = figures.get(name)
        if value is None or not least <= value <= most:
            bound = f"at least {least:g}" if value is not None and value < least else f"at most {most:g}"
            out.append(f"{name} {value} ({bound})")
    return out
