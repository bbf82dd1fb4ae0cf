"""What mouth windows gain at equal bits (`evaluate --mouth-windows N`): their bytes go into the source image instead.

Both systems get the same motion, but for lips, which lean to windows. With windows the source image is coded as
`encode` codes it; without, at the highest quality at which it takes no more bytes than the source image and the windows
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.codec.source_image import decode_source, encode_source, file_quality
from model.errors import InputError, VisavisError
from model.evaluate.clips import Clip, read_clip
from model.evaluate.expression import FEATURES, ExpressionTruth, mean_expression
from model.evaluate.rendering import align_clip, enrol, render
from model.evaluate.scoring import Frames, Networks, Truth, as_tensor, mean_scores
from model.evaluate.sheets import contact_sheet, save_sheet
from model.evaluate.windows import file_windows, with_windows
from model.source.mouth_choice import mouth_points
from model.talking_head import TalkingHead

SYSTEMS = ("without", "with")
_MOUTH = 64  # pixels of the square around a mouth in which LPIPS is also taken
_SCORES = ("lpips", "lpips_mouth", "akd", "csim", "flicker")


def windows_gain(
    head: TalkingHead,
    paths: Iterable[Path],
    networks: Networks,
    count: int,
    with_source: Callable[[TalkingHead, Clip], Clip],
    *,
    every: int = 1,
    max_frames: int | None = None,
    sheets: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Means and expression of either system, and under "clips" each clip's with its bytes; "skipped" says why.

    with_source   chooses a clip's source image
    Raises InputError for a profile without landmarks, or when no clip can be used.
    """
    if not head.has_landmarks:
        raise InputError(f"the profile {head.profile.name} has no mouth windows")
    clips: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            clip = with_source(head, read_clip(head, path, max_frames))
        except VisavisError as error:
            skipped[path.stem] = str(error)
            say(str(error))
            continue
        one, frames = clip_gain(head, clip, networks, count, every)
        clips[clip.name] = one
        lpips = "  ".join(f"{s} {one[s]['lpips']:.4f}, mouth {one[s]['lpips_mouth']:.4f}" for s in SYSTEMS)
        say(f"{clip.name}: {one['windows']} windows, {one['bytes_windows']} bytes; LPIPS {lpips}")
        if sheets is not None:
            picks = np.linspace(0, len(clip.frames) - 1, 7).round().astype(int)
            rows = {"truth": clip.frames} | frames
            save_sheet(
                contact_sheet([[(f"{name} {i}", shown[i]) for i in picks] for name, shown in rows.items()]),
                sheets / f"mouth_{clip.name}.png",
            )
    if not clips:
        raise InputError("no clip can be used: " + "; ".join(skipped.values()))
    means: dict[str, Any] = {
        system: {
            **mean_scores([one[system] for one in clips.values()]),
            "expression": {
                instrument: mean_expression([one["expression"][system].get(instrument, {}) for one in clips.values()])
                for instrument in ("mesh", "dlib")
            },
        }
        for system in SYSTEMS
    }
    return means | {"clips": clips, "skipped": skipped}


def clip_gain(
    head: TalkingHead, clip: Clip, networks: Networks, count: int, every: int
) -> tuple[dict[str, Any], dict[str, Frames]]:
    """Scores and bytes of one clip, and the frames (T, S, S, 3) of either system."""
    points, motions = mouth_points(clip.canonical, clip.motions), align_clip(head, clip)
    found = file_windows(head, clip, enrol(head, clip.source_frame), motions, count, eyes=0)
    windows = found.coded
    source = encode_source(clip.source_frame)
    budget = len(source) + sum(map(len, windows))
    richer = _richest(clip.source_frame, budget)
    plain = enrol(head, decode_source(richer))
    state = with_windows(head, enrol(head, decode_source(source)), windows)
    systems = zip(SYSTEMS, (plain, state), (motions, found.motions), strict=True)
    frames = {name: render(head, one, driving, frame_rate=clip.fps) for name, one, driving in systems}
    scored = clip.driving(every)
    told = np.setdiff1d(np.arange(len(clip.frames)), found.frames)  # a window's frame shows itself
    scored = np.intersect1d(scored, told)
    truth = Truth(clip.frames[scored], networks)
    expression = ExpressionTruth(clip.frames[told], networks.landmarks, networks.points, found.bare[told])
    figures: dict[str, Any] = {
        "source": clip.source,
        "windows": len(windows),
        "bytes_windows": sum(map(len, windows)),
        "bytes_source": {"without": len(richer), "with": len(source)},
        "expression": {name: expression.read(shown[told]) for name, shown in frames.items()},
    }
    for name, shown in frames.items():
        figures[name] = truth.score(shown[scored], consecutive=every == 1)
        pairs = (around_mouth(x[scored], points[scored]) for x in (shown, clip.frames))
        figures[name]["lpips_mouth"] = float(networks.lpips(*pairs).mean())
    return figures, frames


def around_mouth(frames: Frames, points: NDArray[np.float32]) -> Tensor:
    """Mouths (T, 3, 128, 128) in [0, 1] of frames (T, S, S, 3), twice enlarged; points (T, 10, 2) in crop units."""
    size = frames.shape[1]
    corner = ((points.mean(1) + 1) * size / 2 - _MOUTH / 2).round().astype(int).clip(0, size - _MOUTH)
    cut = np.stack([f[y : y + _MOUTH, x : x + _MOUTH] for f, (x, y) in zip(frames, corner, strict=True)])
    return F.interpolate(as_tensor(cut), scale_factor=2.0, mode="bilinear").clamp(0, 1)


def table(figures: dict[str, Any]) -> str:
    """The report as text."""
    rows = [(clip, one) for clip, one in figures["clips"].items()] + [("mean", figures)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'clip':{width}}  {'windows':8}" + "".join(f"{name:>12}" for name in _SCORES)]
    for clip, one in rows:
        for system in SYSTEMS:
            values = (one[system].get(name) for name in _SCORES)
            cells = "".join(f"{'-':>12}" if v is None else f"{v:12.4f}" for v in values)
            lines.append(f"{clip:{width}}  {system:8}{cells}")
    lines += ["", f"{'r / slope':16}" + "".join(f"{name:>14}" for name in FEATURES)]
    for system in SYSTEMS:
        for instrument, read in figures[system]["expression"].items():
            cells = "".join(
                f"{'-':>14}" if (one := read.get(name)) is None else f"{one['r']:8.2f} /{one['slope']:4.2f}"
                for name in FEATURES
            )
            lines.append(f"{system:10}{instrument:6}{cells}")
    return "\n".join(lines)


def _richest(image: NDArray[np.uint8], budget: int) -> bytes:
    """The image at the highest quality that takes no more than `budget` bytes, at least that of a file."""
    low, high = file_quality(len(image)), 100
    best = encode_source(image, low)
    while high - low > 1:
        middle = (low + high) // 2
        data = encode_source(image, middle)
        if len(data) <= budget:
            low, best = middle, data
        else:
            high = middle
    return best
