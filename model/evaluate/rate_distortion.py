"""Rate-distortion: what a call sends of a face at several quantiser steps against video codecs, on the same crops.

All rates are in kbit/s at 25 frames a second, whatever the clip's own rate, from the sender to the receiver
(`model/evaluate/wire.py` says what counts). Motion is that of a call: measured frame by frame, through the real encoder
and decoder, behind the packets of the voice or, without sound, on the data channel; nothing is lost. What is sent once,
the source image and windows as a call codes them or a codec's keyframe, stands apart, or is spread over 10 s and
over 10 minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from model.codec.rate import CALL_STEP_INDEX, Rate
from model.codec.source_image import LIVE_SPEED, decode_source, encode_source, live_quality
from model.errors import InputError, VisavisError
from model.evaluate.bjontegaard import bd_rate
from model.evaluate.call import call, call_motion
from model.evaluate.channel import FPS
from model.evaluate.clips import Clip, cut_again, read_clip, with_source
from model.evaluate.conventional import CODECS, Codec, code
from model.evaluate.expression import FEATURES, Expression, ExpressionTruth, mean_expression
from model.evaluate.rendering import enrol, render
from model.evaluate.scoring import Frames, Networks, Scores, Truth, mean_scores
from model.evaluate.wire import (
    DATA_HEADER_BYTES,
    TRAILER_HEADER_BYTES,
    image_bytes,
    picture_bytes,
    spread_kbps,
    voice_kbps,
)
from model.talking_head import TalkingHead

OWN = "visavis"
YARDSTICK = "x264-medium"

STEP_INDICES = (-12, -8, CALL_STEP_INDEX, 0)

FRAMES_PER_MESSAGE = 2
"""In a call without sound, where a budget below 40 kbit/s makes two frames share a message."""

SHOWN = ("lpips", "lpips_vgg", "ms_ssim", "psnr", "ssim", "flicker")
"""Scores of a point."""

RATES = ("kbps", "kbps_wire", "kbps_call", "kbps_10s", "kbps_600s")


@dataclass(frozen=True)
class Point:
    """One system at one setting on one clip, or the mean over clips; rates without what is sent once, but for two."""

    system: str
    setting: int  # step index, CRF or QP
    kbps: float  # payload
    kbps_wire: float  # with all headers, the voice apart
    kbps_call: float  # with the voice, on all sides the same
    kbps_10s: float  # `kbps_wire` and what is sent once, spread over 10 s
    kbps_600s: float  # and over 10 minutes
    once_bytes: float  # source image and windows, or keyframe, on the wire
    lpips: float
    lpips_vgg: float | None
    ms_ssim: float
    psnr: float
    ssim: float
    flicker: float | None
    expression: Expression


class Judge:
    """Scores of decoded frames of one clip: of each `every`-th frame but the first and the source."""

    def __init__(self, clip: Clip, networks: Networks, every: int) -> None:
        self._scored = clip.driving(every)
        self._consecutive = every == 1
        truth = clip.frames[self._scored]
        self._truth = Truth(truth, replace(networks, landmarks=None, identity=None))
        self._expression = ExpressionTruth(truth, networks.landmarks, networks.points)

    def scores(self, frames: Frames) -> Scores:
        """Of frames (T, S, S, 3), one for each of the clip's."""
        return self._truth.score(frames[self._scored], consecutive=self._consecutive)

    def point(self, system: str, setting: int, rates: Mapping[str, float], frames: Frames) -> Point:
        """A point with its scores."""
        scores: dict[str, Any] = self.scores(frames)
        told = self._expression.read(frames[self._scored])
        return Point(system, setting, **rates, **{name: scores[name] for name in SHOWN}, expression=told)


def rates_of(kbps: float, wire: float, once_bytes: int, *, voice: bool) -> dict[str, float]:
    """Fields of a `Point`."""
    return {
        "kbps": kbps,
        "kbps_wire": wire,
        "kbps_call": wire + (voice_kbps() if voice else 0.0),
        "kbps_10s": spread_kbps(wire, once_bytes, 10),
        "kbps_600s": spread_kbps(wire, once_bytes, 600),
        "once_bytes": once_bytes,
    }


def motion_points(
    head: TalkingHead,
    clip: Clip,
    measured: Clip,
    judge: Judge,
    *,
    voice: bool = True,
    steps: Sequence[int] = STEP_INDICES,
) -> tuple[list[Point], Scores]:
    """What a call sends at each step index, and the scores with motion that is not rounded.

    clip      in the pictures' size
    measured  the same in the size of the networks, from which motion is measured
    """
    side = clip.frames.shape[1]
    source = encode_source(clip.source_frame, live_quality(side), LIVE_SPEED)
    state = enrol(head, decode_source(source))
    motion = call_motion(head, measured, state)
    header = TRAILER_HEADER_BYTES if voice else DATA_HEADER_BYTES
    points = []
    for step in steps:
        rate = Rate(step_index=step, frames_per_message=FRAMES_PER_MESSAGE)
        sent = call(head, clip, state, motion, rate=rate, behind_voice=voice)
        once = sum(map(image_bytes, (len(source), *sent.windows)))
        rates = rates_of(sent.kbps, sent.kbps_wire(header), once, voice=voice)
        points.append(judge.point(OWN, step, rates, sent.frames))
    return points, judge.scores(render(head, state, motion, frame_rate=clip.fps, size=side))


def codec_points(codec: Codec, clip: Clip, judge: Judge, *, voice: bool = True) -> list[Point]:
    """A conventional codec at each of its qualities. Raises InputError where it is not there."""
    points = []
    for quality in codec.qualities:
        coded = code(clip.frames, codec, quality, FPS)
        first, later = coded.sizes[0], coded.sizes[1:]
        kbps = sum(later) * 8 * FPS / len(later) / 1000
        wire = sum(map(picture_bytes, later)) * 8 * FPS / len(later) / 1000
        rates = rates_of(kbps, wire, picture_bytes(first), voice=voice)
        points.append(judge.point(codec.name, quality, rates, coded.frames))
    return points


@dataclass(frozen=True)
class RateDistortion:
    """Means over clips."""

    size: int  # pixels of a side
    frames: int  # of each clip at most
    every: int  # of which each n-th is scored
    voice: bool  # motion travels behind it
    points: list[Point]
    unquantised: Scores  # the model with motion as a call measures it
    copy: Scores  # the source image repeated
    matched: list[dict[str, Any]]  # as of `matched`
    bjontegaard: dict[str, dict[str, float | None]]  # as of `bjontegaard`
    clips: dict[str, list[Point]]
    skipped: dict[str, str]  # clips
    absent: dict[str, str]  # codecs
    weights: str  # SHA-256


def measure(
    head: TalkingHead,
    paths: Iterable[Path],
    networks: Networks,
    *,
    size: int = 256,
    every: int = 1,
    max_frames: int = 250,
    voice: bool = True,
    codecs: Collection[str] = tuple(CODECS),
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[RateDistortion]:
    """All systems on all clips; after each clip, the means over those that are measured.

    Only each `every`-th frame is scored (flicker is None then). `say` takes a line about each clip and each codec that
    is not there. Raises InputError where no clip can be used.
    """
    clips: dict[str, list[Point]] = {}
    unquantised: list[Scores] = []
    copies: list[Scores] = []
    skipped: dict[str, str] = {}
    absent: dict[str, str] = {}
    for path in paths:
        try:
            measured, clip = _clips(head, path, size, max_frames)
        except VisavisError as error:
            skipped[path.stem] = str(error)
            say(str(error))
            continue
        judge = Judge(clip, networks, every)
        points, scores = motion_points(head, clip, measured, judge, voice=voice)
        for codec in CODECS.values():
            if codec.name in absent or codec.name not in codecs:
                continue
            try:
                points += codec_points(codec, clip, judge, voice=voice)
            except InputError as error:
                absent[codec.name] = str(error)
                say(str(error))
        say(f"{clip.name}: measured")
        clips[clip.name] = points
        unquantised.append(scores)
        copies.append(judge.scores(np.broadcast_to(clip.source_frame, clip.frames.shape)))
        means = mean_points(list(clips.values()))
        yield RateDistortion(
            size=size,
            frames=max_frames,
            every=every,
            voice=voice,
            points=means,
            unquantised=mean_scores(unquantised),
            copy=mean_scores(copies),
            matched=matched(means),
            bjontegaard=bjontegaard(means),
            clips=dict(clips),
            skipped=dict(skipped),
            absent=dict(absent),
            weights=head.weights_hash,
        )
    if not clips:
        raise InputError("no clip can be used: " + "; ".join(skipped.values()))


def named(codecs: Collection[str] | None) -> Collection[str]:
    """Names of codecs, of all where none is given. Raises InputError for one that there is not."""
    for name in codecs or ():
        if name not in CODECS:
            raise InputError(f"no codec is named {name}: {', '.join(CODECS)}")
    return codecs or tuple(CODECS)


def _clips(head: TalkingHead, path: Path, size: int, max_frames: int) -> tuple[Clip, Clip]:
    """A clip in the size of the networks and in that of the pictures."""
    measured = with_source(head, read_clip(head, path, max_frames))
    if size == head.profile.size:
        return measured, measured
    assert measured.crop is not None
    if head.profile.source_size(measured.crop.side) < size:
        raise InputError(f"{measured.name}: the head's crop has {measured.crop.side:.0f} pixels, too few for {size}")
    large = np.stack(cut_again(path, measured, range(len(measured.frames)), size))
    return measured, replace(measured, frames=large)


def table(result: RateDistortion) -> str:
    """The mean curves as text, and the comparison at equal LPIPS."""
    names = ("kbit/s", "wire", "call", "10 s", "10 min")
    lines = [f"{'system':18}{'setting':>8}" + "".join(f"{name:>9}" for name in (*names, *SHOWN))]
    for p in result.points:
        rates = "".join(f"{getattr(p, name):9.2f}" for name in RATES)
        lines.append(f"{p.system:18}{p.setting:8}" + rates + _cells({name: getattr(p, name) for name in SHOWN}))
    lines.append(f"{'visavis, motion not rounded':71}" + _cells(result.unquantised))
    lines.append(f"{'source image repeated':71}" + _cells(result.copy))
    for p in result.points:
        for instrument, told in p.expression.items():
            cells = (f"{name} {one['r']:.2f} / {one['slope']:.2f}" for name in FEATURES if (one := told.get(name)))
            lines.append(f"{p.system:18}{p.setting:8}  {instrument}: " + ", ".join(cells))
    for row in result.matched:
        times = []
        for name, needed in row["systems"].items():
            told_times = "/".join("-" if needed[rate] is None else f"{needed[rate]:.1f}" for rate in RATES)
            times.append(f"{name} {told_times}")
        lines.append(f"step {row['setting']:3}, LPIPS {row['lpips']:.4f}: times the rates: " + ", ".join(times))
    for name, by_metric in result.bjontegaard.items():
        cells = (f"{metric} {'-' if v is None else f'{v:.0f} %'}" for metric, v in by_metric.items())
        lines.append(f"Bjontegaard rate on the wire against {name}: " + ", ".join(cells))
    return "\n".join(lines)


def _cells(scores: Scores) -> str:
    values = (scores[name] for name in SHOWN)
    return "".join(f"{'-':>9}" if value is None else f"{value:9.4f}" for value in values)


def mean_points(per_clip: Sequence[Sequence[Point]]) -> list[Point]:
    """Mean over clips of points with the same system and setting, each clip counting the same."""
    groups: dict[tuple[str, int], list[Point]] = {}
    for points in per_clip:
        for point in points:
            groups.setdefault((point.system, point.setting), []).append(point)
    means = []
    for (system, setting), group in groups.items():
        rows = [asdict(point) for point in group]
        told = [row.pop("expression") for row in rows]
        numbers: dict[str, Any] = mean_scores([{k: v for k, v in r.items() if k not in KEYS} for r in rows])
        instruments = dict.fromkeys(instrument for one in told for instrument in one)
        expression = {name: mean_expression([one[name] for one in told if name in one]) for name in instruments}
        means.append(Point(system, setting, **numbers, expression=expression))
    return means


KEYS = ("system", "setting")
"""Of a point; all else of it is measured."""


def rate_at(points: Sequence[Point], lpips: float, rate: str = "kbps") -> float | None:
    """The rate at which a codec's curve crosses an LPIPS, interpolated in log rate; None outside of the curve."""
    curve = sorted((point.lpips, getattr(point, rate)) for point in points)
    for (low, above), (high, below) in pairwise(curve):
        if low <= lpips <= high and high > low:
            weight = (lpips - low) / (high - low)
            return float(math.exp((1 - weight) * math.log(above) + weight * math.log(below)))
    return None


def matched(points: Sequence[Point]) -> list[dict[str, Any]]:
    """For each step of the motion: how many times each of its rates a codec needs for the same LPIPS.

    [{setting, lpips, systems: {CODEC: {RATE: times}}}]; None where the codec's curve does not reach that LPIPS.
    """
    systems = by_system(points)
    rows: list[dict[str, Any]] = []
    for own in systems.pop(OWN, []):
        row: dict[str, Any] = {"setting": own.setting, "lpips": own.lpips, "systems": {}}
        for system, curve in systems.items():
            times: dict[str, float | None] = {}
            for rate in RATES:
                needed = rate_at(curve, own.lpips, rate)
                times[rate] = None if needed is None else needed / getattr(own, rate)
            row["systems"][system] = times
        rows.append(row)
    return rows


def bjontegaard(points: Sequence[Point]) -> dict[str, dict[str, float | None]]:
    """The mean rate on the wire, voice apart, that this codec takes against each other, percent, by metric."""
    systems = by_system(points)
    own = systems.pop(OWN, [])
    found: dict[str, dict[str, float | None]] = {}
    for system, curve in systems.items():
        found[system] = {}
        for metric in ("lpips", "lpips_vgg", "ms_ssim"):
            ours, theirs = (
                [(p.kbps_wire, q) for p in c if (q := getattr(p, metric)) is not None] for c in (own, curve)
            )
            found[system][metric] = bd_rate(ours, theirs) if ours and theirs else None
    return found


def by_system(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Points of each system, in order."""
    systems: dict[str, list[Point]] = {}
    for point in points:
        systems.setdefault(point.system, []).append(point)
    return systems
