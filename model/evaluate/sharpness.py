"""Sharp pictures against the camera's own at that size (`evaluate --size 512`): what they gain over enlarged ones.

Only clips whose crop has the pixels can tell. The source image, one for both, is coded as `encode` codes it, and frames
are aligned as `encode` aligns them. A scored frame is rendered with those before it that the filter sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from model.codec.source_image import decode_source, encode_source
from model.errors import InputError, VisavisError
from model.evaluate import metrics
from model.evaluate.clips import cut_again, read_clip, with_source
from model.evaluate.rendering import align_clip, enrol
from model.evaluate.scoring import Frames, as_frames, as_tensor
from model.evaluate.sheets import contact_sheet, save_sheet
from model.motion import Motion
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.temporal_filter import FrameTime, TemporalFilter

BEFORE = 4
"""Frames that are rendered before a scored one: of what was earlier a filter keeps less than a fiftieth."""


@dataclass(frozen=True)
class SharpClip:
    """Scored pictures of one clip at the sharp size; T of them."""

    name: str
    pixels: float  # of the crop's side in the film
    source: Frames  # (S, S, 3)
    truth: Frames  # (T, S, S, 3)
    sharp: Frames
    enlarged: Frames  # those of the networks' own size
    scores: dict[str, float]
    """LPIPS and flicker of either; flicker also of pictures reduced to the networks' size, where both can be had."""


def sharpness(
    head: TalkingHead,
    paths: Iterable[Path],
    lpips: nn.Module,
    *,
    every: int = 20,
    max_frames: int | None = None,
    sheets: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Scores by clip under "clips", their means, and under "skipped" why a clip tells nothing. Sheets into `sheets`.

    Raises InputError for a profile without sharp pictures, or when no clip can tell.
    """
    if head.profile.sharp_size is None:
        raise InputError(f"the profile {head.profile.name} renders {head.profile.size} pixels alone")
    clips: dict[str, dict[str, float]] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            one = sharp_clip(head, path, lpips, every, max_frames)
        except VisavisError as error:
            skipped[path.stem] = str(error)
            say(str(error))
            continue
        clips[one.name] = {"crop_px": one.pixels} | one.scores
        say(f"{one.name}: LPIPS {one.scores['lpips']:.4f}, enlarged {one.scores['lpips_enlarged']:.4f}")
        if sheets is not None:
            save_sheet(sheet(one), sheets / f"sharp_{one.name}.png")
    if not clips:
        raise InputError("no clip has a crop that is large enough: " + "; ".join(skipped.values()))
    names = next(iter(clips.values()))
    means = {name: float(np.mean([scores[name] for scores in clips.values()])) for name in names}
    return means | {"lpips_share": means["lpips"] / means["lpips_enlarged"], "clips": clips, "skipped": skipped}


def sharp_clip(head: TalkingHead, path: Path, lpips: nn.Module, every: int, max_frames: int | None) -> SharpClip:
    """One clip. Raises InputError where its crop has too few pixels, and as `read_clip` does."""
    size = head.profile.sizes[-1]
    clip = with_source(head, read_clip(head, path, max_frames))
    assert clip.crop is not None
    if head.profile.source_size(clip.crop.side) < size:
        raise InputError(f"{clip.name}: the head's crop has {clip.crop.side:.0f} pixels a side, too few for {size}")
    scored = clip.driving(every)
    scored = scored[scored > BEFORE]
    wanted = sorted({clip.source, *scored, *(scored - 1)})
    truth = dict(zip(wanted, cut_again(path, clip, wanted, size), strict=True))
    pairs = [np.stack([truth[i - 1], truth[i]]) for i in scored]
    source = decode_source(encode_source(np.ascontiguousarray(truth[clip.source])))
    state, motions = enrol(head, source), align_clip(head, clip, source)
    sharp, enlarged = (_pairs(head, state, motions, clip.fps, scored, side) for side in (size, None))
    enlarged = [as_frames(_resized(as_tensor(pair), size)) for pair in enlarged]
    scores = {}
    for name, found in (("", sharp), ("_enlarged", enlarged)):
        given = [(as_tensor(ours), as_tensor(theirs)) for ours, theirs in zip(found, pairs, strict=True)]
        small = [tuple(_resized(x, head.profile.size) for x in pair) for pair in given]
        scores[f"lpips{name}"] = _mean(lpips(ours[1:], theirs[1:]) for ours, theirs in given)
        scores[f"flicker{name}"] = _mean(metrics.flicker(*pair) for pair in given)
        scores[f"flicker_reduced{name}"] = _mean(metrics.flicker(*pair) for pair in small)
    shown, ours, theirs = (np.stack([pair[1] for pair in found]) for found in (pairs, sharp, enlarged))
    return SharpClip(clip.name, clip.crop.side, truth[clip.source], shown, ours, theirs, scores)


def sheet(clip: SharpClip, columns: int = 5) -> Image.Image:
    """Contact sheet: the camera's pictures, sharp and enlarged ones, at frames spread over the clip."""
    picks = np.linspace(0, len(clip.truth) - 1, min(columns, len(clip.truth))).round().astype(int)
    rows = {"camera": clip.truth, "sharp": clip.sharp, "enlarged": clip.enlarged}
    source = ("source", clip.source)
    return contact_sheet(
        [[source, *((f"{name} {i}", frames[i]) for i in picks)] for name, frames in rows.items()], tile=384
    )


def _pairs(
    head: TalkingHead, state: SourceState, motions: Motion, fps: float, scored: NDArray[np.intp], size: int | None
) -> list[Frames]:
    """Of each scored frame that and the one before it, (2, S, S, 3), as they are shown."""
    found = []
    for index in scored:
        which = slice(index - BEFORE, index + 1)
        shown = TemporalFilter()
        times = [FrameTime(shown, i / fps) for i in range(BEFORE + 1)]
        frames = head.render([state] * len(times), motions[which].to_torch(), None, times, size)
        found.append(as_frames(frames[-2:]))
    return found


def _resized(pictures: Tensor, size: int) -> Tensor:
    if pictures.shape[-1] > size:
        return torch.nn.functional.avg_pool2d(pictures, pictures.shape[-1] // size)
    return torch.nn.functional.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def _mean(values: Iterable[Tensor]) -> float:
    return float(torch.cat(list(values)).mean())
