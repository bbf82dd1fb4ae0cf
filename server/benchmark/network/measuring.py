"""What happens to a call's lines in a scenario, and the figures of the report, whatever the call is made of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.benchmark.counted_sockets import CountedBytes
from server.benchmark.network.figures import (
    Spoken,
    heard,
    longest_gap,
    longest_silence,
    middle,
    percentile,
    settled,
    share_played,
)
from server.benchmark.network.link import LinkSettings
from server.benchmark.network.scenarios import SETTLE_BOUND, SETTLE_SECONDS, Scenario

_TAIL = 1.2
"""Seconds after the end in which what was sent until then may still come."""

Waits = Sequence[tuple[float, float]]
"""(when, seconds) that each datagram waited for others at a bottleneck."""


@dataclass(frozen=True)
class LineRecord:
    """What a client's line carried since it was counted anew."""

    counted: CountedBytes
    waits_up: Waits
    waits_down: Waits


@dataclass(frozen=True)
class CallRecord:
    """What was sent and what came, all times of one clock, seconds."""

    spoken: Sequence[Spoken]  # in order; empty without a voice
    sound: Sequence[tuple[float, bytes]]  # (when it came, Opus packet)
    pictures: Sequence[tuple[float, int]]  # (when it was whole, RTP timestamp)
    captured: Mapping[int, float]  # when what a picture shows was captured, by RTP timestamp
    keyframes_asked: int
    reconnects: int
    clocked: bool = True  # whether times of speech are of that clock; else they are right among themselves


class CallOverLines(Protocol):
    """A call that stands, each of its two clients behind a line of its own."""

    async def change(self, sender: LinkSettings, viewer: LinkSettings) -> None:
        """The lines from now on, both directions."""

    async def cut(self, whole: bool = False) -> None:
        """From now on nothing comes through on the sender's line, or everything again."""

    async def move(self) -> None:
        """The sender is seen under another address."""

    async def count_anew(self) -> None:
        """Forget what was counted until now."""

    async def lines(self) -> tuple[LineRecord, LineRecord]:
        """Of the sender and of the viewer."""

    async def record(self) -> CallRecord:
        """Of the call until now."""


async def measure(call: CallOverLines, scenario: Scenario, seconds: float) -> dict[str, Any]:
    """JSON-ready figures of `seconds` from when the line changed, after an outage from when it ended.

    The loop's time is the clock of the call's records.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(2.0)
    await call.count_anew()
    changed = loop.time()
    await call.change(scenario.sender, scenario.viewer)
    if scenario.moves:
        await call.move()
    if scenario.outage:
        await call.cut()
        await asyncio.sleep(scenario.outage)
        await call.cut(whole=True)
    await asyncio.sleep(scenario.lead)
    began = loop.time()
    await asyncio.sleep(seconds / 2 if scenario.lifted else seconds)
    if scenario.lifted:
        await call.change(LinkSettings(), LinkSettings())
        await asyncio.sleep(seconds / 2)
    ended = loop.time()
    traffic = _traffic(await call.lines(), ended - changed)
    await asyncio.sleep(_TAIL)
    record, (sender, viewer) = await call.record(), await call.lines()
    figures = _figures(record, began, ended) | traffic
    figures["reconnects"] = record.reconnects
    if scenario.sender.kbps is not None:
        figures |= _waits("wait", sender.waits_up, began)
        settle = settled(sender.waits_up, began, SETTLE_BOUND)
        figures["settle_s"] = None if settle is None else round(settle, 2)
    if scenario.viewer.kbps is not None:
        figures |= _waits("viewer_wait", viewer.waits_down, began)
    return figures


def _waits(name: str, waits: Waits, began: float) -> dict[str, Any]:
    later = [wait for when, wait in waits if when >= began + SETTLE_SECONDS]
    return {
        f"{name}_ms_p95": _ms(percentile(later, 0.95)),
        f"{name}_ms_most": _ms(max((wait for _, wait in waits), default=0.0)),
    }


def _traffic(lines: tuple[LineRecord, LineRecord], elapsed: float) -> dict[str, Any]:
    def parts(counter: Counter[str]) -> dict[str, float]:
        return {kind: round(8e-3 * count / elapsed, 1) for kind, count in sorted(counter.items())}

    sender, viewer = (line.counted for line in lines)
    return {
        "uplink_kbps": round(8e-3 * sender.up.total() / elapsed, 1),
        "uplink_parts": parts(sender.up),
        "downlink_kbps": round(8e-3 * sender.down.total() / elapsed, 1),
        "downlink_parts": parts(sender.down),
        "viewer_kbps": round(8e-3 * viewer.down.total() / elapsed, 1),
        "viewer_parts": parts(viewer.down),
    }


def _figures(record: CallRecord, began: float, ended: float) -> dict[str, Any]:
    new = [(at, record.captured[number]) for at, number in record.pictures if number in record.captured]
    pictures = [(at, captured) for at, captured in new if began <= at <= ended]
    every = heard(record.spoken, record.sound)
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
        "keyframes_asked": record.keyframes_asked,
    }
    if pieces:
        figures |= {
            "sound_played_percent": round(100 * share_played(pieces), 1),
            "sound_by_fec_percent": round(100 * sum(piece.again for piece in pieces) / len(pieces), 1),
            "sound_gap_ms": _ms(longest_silence(pieces)),
            "sound_back_s": None if first_sound is None else round(first_sound - began, 2),
        }
    if pieces and record.clocked:
        figures["sound_age_ms"] = _ms(sound_age)
        figures["lip_sync_ms"] = None if picture_age is None or sound_age is None else _ms(sound_age - picture_age)
    return figures


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds)
