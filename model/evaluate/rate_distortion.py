"""Rate-distortion: the motion stream at several quantiser steps against conventional codecs, on the same crops.

All rates are at 25 frames a second, whatever the clip's own rate, in kbit/s: `kbps` is payload, `kbps_wire` adds the
headers of every message or packet. The motion stream goes through the real encoder and decoder over a channel that
loses nothing, answers come back after a round trip, so prediction is that of a call, not of a file. The source image
is compressed as `encode` does; `kbps_total` spreads its bytes over the clip, as a codec's keyframe is spread in its
`kbps`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.codec.rate import Rate
from model.codec.source_image import decode_source, encode_source
from model.evaluate.channel import FPS, send
from model.evaluate.clips import Clip, read_clip, with_source
from model.evaluate.conventional import CODECS, Codec, code
from model.evaluate.rendering import align_clip, enrol, render
from model.evaluate.scoring import Networks, Scores, Truth, mean_scores
from model.motion import Motion
from model.talking_head import TalkingHead

STEP_INDICES = (-13, -9, -5, -1, 3, 7, 11)
"""Among them the steps of a file and of a call."""

FRAMES_PER_MESSAGE = 3
"""Bundle of the motion stream: 120 ms at 25 frames a second; headers fall to a third."""

SHOWN = ("lpips", "psnr", "ssim", "flicker")
"""Scores of a point."""


@dataclass(frozen=True)
class Point:
    """One system at one setting on one clip, or the mean over clips."""

    system: str
    setting: int  # step index or CRF
    kbps: float
    kbps_wire: float
    kbps_total: float  # payload with the source image; a codec's `kbps` has its keyframe in it already
    lpips: float
    psnr: float
    ssim: float
    flicker: float | None


def motion_points(
    head: TalkingHead, clip: Clip, networks: Networks, every: int = 1, steps: Sequence[int] = STEP_INDICES
) -> tuple[list[Point], Scores]:
    """The motion stream at each step index, and the scores without quantisation (from the same compressed source)."""
    source = encode_source(clip.source_frame)
    state = enrol(head, decode_source(source))
    vectors = align_clip(head, clip)[1:].to_vector()
    truth = Truth(clip.frames[1:][::every], networks)

    def score(motions: NDArray[np.float32]) -> Scores:
        rendered = render(head, state, Motion.from_vector(motions), frame_rate=clip.fps)
        return truth.score(rendered[::every], consecutive=every == 1)

    unquantised = score(vectors)
    points = []
    for step in steps:
        sent = send(head.statistics, vectors, Rate(step_index=step, frames_per_message=FRAMES_PER_MESSAGE))
        scores = score(sent.vectors)
        total = sent.kbps() + len(source) * 8 * FPS / len(clip.frames) / 1000
        points.append(_point("visavis", step, sent.kbps(), sent.kbps_wire(), total, scores))
    return points, unquantised


def codec_points(codec: Codec, clip: Clip, networks: Networks, every: int = 1) -> list[Point]:
    """A conventional codec at each of its qualities; all frames are coded, each `every`-th is scored."""
    truth = Truth(clip.frames[1:][::every], networks)
    points = []
    for quality in codec.qualities:
        coded = code(clip.frames, codec, quality, FPS)
        scores = truth.score(coded.frames[1:][::every], consecutive=every == 1)
        kbps = coded.kbps(FPS)
        points.append(_point(codec.name, quality, kbps, coded.kbps_wire(FPS), kbps, scores))
    return points


@dataclass(frozen=True)
class RateDistortion:
    """Means over clips."""

    points: list[Point]
    unquantised: Scores  # the model with motion as it was extracted
    copy: Scores  # the source image repeated
    matched: list[dict[str, Any]]  # as of `matched`
    clips: dict[str, list[Point]]
    weights: str  # SHA-256


def measure(
    head: TalkingHead, paths: Iterable[Path], networks: Networks, *, every: int = 1, max_frames: int | None = None
) -> RateDistortion:
    """All systems on all clips; only each `every`-th frame is scored (flicker is None then).

    Raises InputError or FaceError for a clip that cannot be used.
    """
    clips: dict[str, list[Point]] = {}
    unquantised: list[Scores] = []
    copies: list[Scores] = []
    for path in paths:
        clip = with_source(head, read_clip(head, path, max_frames))
        points, scores = motion_points(head, clip, networks, every)
        for codec in CODECS.values():
            points += codec_points(codec, clip, networks, every)
        clips[clip.name] = points
        unquantised.append(scores)
        driving = clip.frames[1:][::every]
        copy = np.broadcast_to(clip.source_frame, driving.shape)
        copies.append(Truth(driving, networks).score(copy, consecutive=every == 1))
    means = mean_points(list(clips.values()))
    return RateDistortion(
        means, mean_scores(unquantised), mean_scores(copies), matched(means), clips, head.weights_hash
    )


def table(result: RateDistortion) -> str:
    """The mean curves as text, and the comparison at equal LPIPS."""
    lines = [f"{'system':18}{'setting':>8}{'kbit/s':>9}{'wire':>9}" + "".join(f"{n:>9}" for n in SHOWN)]
    for p in result.points:
        rates = f"{p.system:18}{p.setting:8}{p.kbps:9.2f}{p.kbps_wire:9.2f}"
        lines.append(rates + _cells({name: getattr(p, name) for name in SHOWN}))
    lines.append(f"{'visavis, motion not quantised':44}" + _cells(result.unquantised))
    lines.append(f"{'source image repeated':44}" + _cells(result.copy))
    for row in result.matched:
        times = []
        for codec in CODECS:
            needed = row[codec]["kbps"]
            times.append(f"{codec} {'-' if needed is None else f'{needed:.1f}x'}")
        lines.append(f"step {row['setting']:3}, LPIPS {row['lpips']:.4f}: payload of " + ", ".join(times))
    return "\n".join(lines)


def _cells(scores: Scores) -> str:
    values = (scores[name] for name in SHOWN)
    return "".join(f"{'-':>9}" if value is None else f"{value:9.4f}" for value in values)


def mean_points(per_clip: Sequence[Sequence[Point]]) -> list[Point]:
    """Mean over clips of points with the same system and setting, each clip counting the same."""
    groups: dict[tuple[str, int], list[Scores]] = {}
    for points in per_clip:
        for point in points:
            values = asdict(point)
            key = values.pop("system"), values.pop("setting")
            groups.setdefault(key, []).append(values)
    return [Point(*key, **_numbers(mean_scores(rows))) for key, rows in groups.items()]


def rate_at(points: Sequence[Point], lpips: float, rate: str = "kbps") -> float | None:
    """The rate at which a codec's curve crosses an LPIPS, interpolated in log rate; None outside of the curve."""
    curve = sorted((point.lpips, getattr(point, rate)) for point in points)
    for (low, above), (high, below) in pairwise(curve):
        if low <= lpips <= high and high > low:
            weight = (lpips - low) / (high - low)
            return float(math.exp((1 - weight) * math.log(above) + weight * math.log(below)))
    return None


def matched(points: Sequence[Point]) -> list[dict[str, Any]]:
    """For each step of the motion stream: how many times its rate each codec needs for the same LPIPS.

    [{setting, lpips, kbps, CODEC: {"kbps": times the payload, "kbps_wire": times the rate on the wire}, ...}]; None
    where the codec's curve does not reach that LPIPS.
    """
    systems = {point.system: [p for p in points if p.system == point.system] for point in points}
    rows: list[dict[str, Any]] = []
    for own in systems.pop("visavis", []):
        row: dict[str, Any] = {"setting": own.setting, "lpips": own.lpips, "kbps": own.kbps}
        for system, curve in systems.items():
            times: dict[str, float | None] = {}
            for rate in ("kbps", "kbps_wire"):
                needed = rate_at(curve, own.lpips, rate)
                times[rate] = None if needed is None else needed / getattr(own, rate)
            row[system] = times
        rows.append(row)
    return rows


def _point(system: str, setting: int, kbps: float, wire: float, total: float, scores: Scores) -> Point:
    picture = {name: scores[name] for name in SHOWN}
    return Point(system, setting, kbps, wire, total, **_numbers(picture))


def _numbers(scores: Scores) -> dict[str, Any]:
    """Scores as fields of a `Point`: of these only flicker can be missing."""
    return dict(scores)
