"""The rate-distortion figures that the documents and the page show: kept in one file, from which both are made.

`python -m model rd --save` measures and keeps them, `python -m model rd --published` makes what shows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.codec.rate import CALL_STEP_INDEX
from model.errors import InputError
from model.evaluate.rate_distortion import OWN, RATES, YARDSTICK, Point, RateDistortion, by_system, matched, rate_at

_ROOT = Path(__file__).parents[2]
FIGURES = _ROOT / "docs" / "rate-distortion.json"
PICTURE = _ROOT / "docs" / "rate-distortion.png"
PAGE = _ROOT / "client_web" / "h264_reference.js"

PAGE_SIZE = "256"
"""Of the pictures that the page's panel compares."""

CALL_LPIPS = 0.072
"""Of a call's face: mean of eight clips (docs/quality.md, "What does a call keep of it?").

The rate-distortion clips are shorter and their faces closer to the source image, which would flatter the comparison.
"""

Published = Mapping[str, Any]
"""By size in pixels, as text: fields of a `RateDistortion`, of its clips what `matched` says of the call's step."""


def read() -> Published:
    """Raises InputError where nothing was kept."""
    try:
        published: dict[str, Any] = json.loads(FIGURES.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{FIGURES}: {error}") from None
    return published


def save(result: RateDistortion) -> None:
    """Keep a result in place of the one of its size."""
    published = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    clips = {name: _of_call(matched(points)) for name, points in result.clips.items()}
    published[str(result.size)] = _rounded(asdict(result) | {"clips": clips})
    FIGURES.write_text(_text(published))


def points_of(published: Published, size: str) -> list[Point]:
    """Mean points of a size."""
    return [Point(**point) for point in published[size]["points"]]


def draw(published: Published) -> None:
    """The picture of the curves."""
    from model.evaluate.plot import plot

    columns = {f"{size} px": points_of(published, size) for size in published}
    plot(columns, PICTURE, {f"{size} px": figures["copy"]["lpips"] for size, figures in published.items()})


def page_module(published: Published) -> str:
    """Text of the page's module: what x264 needs for a picture as good as a call's face, `CALL_LPIPS`.

    Raises InputError where x264's curve does not reach it.
    """
    curve = by_system(points_of(published, PAGE_SIZE))[YARDSTICK]
    payload, wire = (rate_at(curve, CALL_LPIPS, name) for name in ("kbps", "kbps_wire"))
    if payload is None or wire is None:
        raise InputError(f"{YARDSTICK} was not measured around LPIPS {CALL_LPIPS:.3f}")
    return f"""// @ts-check
/**
 * What x264 at preset medium takes for a picture as good as a call's face, by LPIPS, without its keyframe; on the wire
 * with the headers of its RTP packets. Made by `python -m model rd --published` of docs/rate-distortion.json.
 */
export const H264 = {{
  payloadKbps: {payload:.1f},
  wireKbps: {wire:.1f},
  lpips: {CALL_LPIPS:.2f},
  size: {PAGE_SIZE},
  clips: {len(published[PAGE_SIZE]["clips"])},
}};
"""


def markdown(published: Published) -> str:
    """The tables of docs/quality.md."""
    curves = [_curves(published, size) for size in published]
    return "\n\n".join([_own(published), _times(published), _bjontegaard(published), *curves])


def _own(published: Published) -> str:
    lines = [
        "| px | clips | LPIPS | payload | on the wire | with voice | wire, 10 s | wire, 10 min | sent once, bytes |",
        "|" + "---|" * 9,
    ]
    for size, figures in published.items():
        own = _call_point(points_of(published, size))
        rates = " | ".join(f"{getattr(own, rate):.1f}" for rate in RATES)
        lines.append(f"| {size} | {len(figures['clips'])} | {own.lpips:.4f} | {rates} | {own.once_bytes:.0f} |")
    return "\n".join(lines)


def _times(published: Published) -> str:
    lines = [
        "| px | codec | payload | on the wire | with voice | wire, 10 s | wire, 10 min | on the wire, by clip |",
        "|" + "---|" * 8,
    ]
    for size, figures in published.items():
        for codec, times in _of_call(matched(points_of(published, size)))["systems"].items():
            cells = " | ".join("-" if times[rate] is None else f"{times[rate]:.1f}" for rate in RATES)
            by_clip = (row["systems"][codec]["kbps_wire"] for row in figures["clips"].values())
            each = " / ".join("-" if value is None else f"{value:.1f}" for value in by_clip)
            lines.append(f"| {size} | {codec} | {cells} | {each} |")
    return "\n".join(lines)


def _call_point(points: list[Point]) -> Point:
    """The one whose step is nearest to a call's: figures may be of an earlier step."""
    return min(by_system(points)[OWN], key=lambda point: abs(point.setting - CALL_STEP_INDEX))


def _bjontegaard(published: Published) -> str:
    lines = ["| px | against | by LPIPS (alex) | by LPIPS (vgg) | by MS-SSIM |", "|---|---|---|---|---|"]
    for size, figures in published.items():
        for codec, by_metric in figures["bjontegaard"].items():
            cells = " | ".join("-" if value is None else f"{value:.0f} %" for value in by_metric.values())
            lines.append(f"| {size} | {codec} | {cells} |")
    return "\n".join(lines)


def _curves(published: Published, size: str) -> str:
    told = ("mouth_opening", "lids")
    lines = [
        f"| {size} px | setting | payload | wire | once, bytes | LPIPS | LPIPS (vgg) | MS-SSIM | PSNR | "
        + " | ".join(f"{name.replace('_', ' ')}, {instrument}" for instrument in ("mesh", "dlib") for name in told)
        + " |",
        "|" + "---|" * (9 + 2 * len(told)),
    ]
    for p in points_of(published, size):
        read = [(p.expression.get(instrument) or {}).get(name) for instrument in ("mesh", "dlib") for name in told]
        cells = " | ".join("-" if one is None else f"{one['r']:.2f} / {one['slope']:.2f}" for one in read)
        vgg = "-" if p.lpips_vgg is None else f"{p.lpips_vgg:.3f}"
        lines.append(
            f"| {p.system} | {p.setting} | {p.kbps:.1f} | {p.kbps_wire:.1f} | {p.once_bytes:.0f} | {p.lpips:.4f} "
            f"| {vgg} | {p.ms_ssim:.3f} | {p.psnr:.1f} | {cells} |"
        )
    scores = {"motion not rounded": published[size]["unquantised"], "source image repeated": published[size]["copy"]}
    for name, one in scores.items():
        vgg = "-" if one["lpips_vgg"] is None else f"{one['lpips_vgg']:.3f}"
        lines.append(
            f"| {name} | - | - | - | - | {one['lpips']:.4f} | {vgg} | {one['ms_ssim']:.3f} | {one['psnr']:.1f} |"
            + " - |" * (2 * len(told))
        )
    return "\n".join(lines)


def _of_call(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row whose step is nearest to a call's."""
    return min(rows, key=lambda row: abs(int(row["setting"]) - CALL_STEP_INDEX))


def _text(published: Published) -> str:
    """JSON with a line for each point."""
    sizes = []
    for size, figures in sorted(published.items()):
        fields = []
        for name, value in figures.items():
            rows = ",\n".join(map(json.dumps, value)) if isinstance(value, list) else ""
            fields.append(f"{json.dumps(name)}: " + (f"[\n{rows}\n]" if rows else json.dumps(value)))
        sizes.append(f"{json.dumps(size)}: {{\n" + ",\n".join(fields) + "\n}")
    return "{\n" + ",\n".join(sizes) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
