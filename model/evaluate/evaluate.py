"""`python -m model evaluate`: a model on a folder of clips, against baselines that need no model.

Same-identity reconstruction (arXiv 2011.15126, section 4.1): one frame is the source, and the rest drive. The source is
the frame that `encode` chooses or, as the field measures it, the first in which a face is found. Systems:

    model   the talking head
    copy    the source frame repeated
    warp    the source warped by the keypoints alone (model/evaluate/keypoint_warp.py)
    x264    H.264 at CRF 36, medium, of the same crop: the yardstick for flicker
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.evaluate.call import CallResult, call, call_motion
from model.evaluate.clips import Clip
from model.evaluate.conventional import CODECS, code
from model.evaluate.expression import FEATURES, Expression, ExpressionTruth, mean_expression
from model.evaluate.keypoint_warp import keypoint_warp
from model.evaluate.rendering import BATCH, align_clip, enrol, render
from model.evaluate.scoring import Frames, Networks, Scores, Truth, as_frames, as_tensor, flicker_of_pairs, mean_scores
from model.evaluate.sheets import contact_sheet
from model.evaluate.windows import file_windows, with_windows
from model.motion import Motion, compose
from model.source_state import SourceState
from model.talking_head import TalkingHead

X264_CRF = 36
CALLS = {"call": 0.0, "call_loss": 0.05}
"""Systems of a call, and the share of motion messages that each loses."""
SYSTEMS = ("model", "copy", "warp", "x264")


@dataclass(frozen=True)
class ClipResult:
    """One clip: scores of each system, and the frames they are of."""

    name: str
    scores: dict[str, Scores]
    expression: dict[str, Expression]  # of the model, of the call with and without loss, and of x264
    truth: Frames  # (T, S, S, 3)
    systems: dict[str, Frames]  # (T, S, S, 3) each


def evaluate_clip(
    head: TalkingHead, clip: Clip, networks: Networks, every: int = 1, in_call: bool = False
) -> ClipResult:
    """Scores of each system on one clip; only each `every`-th frame counts, for flicker with the frame before it.

    in_call   also as a call sends it: systems `call` and, with 5 % of the messages lost, `call_loss`
    Expression is read off all frames but those that became windows, which show themselves; that of the mouth off those
    in which the film shows one. Pictures are scored with windows among them: they are what is hard to draw, and without
    them a clip would be the easier the more it has.
    """
    state = enrol(head, clip.source_frame)
    x264 = code(clip.frames, CODECS["x264-medium"], X264_CRF)
    aligned = align_clip(head, clip)
    windows = file_windows(head, clip, state, aligned)
    rendered = render(head, with_windows(head, state, windows.coded), windows.motions, frame_rate=clip.fps)
    told = np.setdiff1d(np.arange(len(clip.frames)), windows.frames)  # a window's frame shows itself
    scored = clip.driving(every)
    calls: dict[str, CallResult] = {}
    if in_call:
        sent = call_motion(head, clip, state)
        calls = {name: call(head, clip, state, sent, loss) for name, loss in CALLS.items()}
    whole = {"model": rendered, "x264": x264.frames} | {name: one.frames for name, one in calls.items()}
    expression_truth = ExpressionTruth(clip.frames[told], networks.landmarks, networks.points, windows.bare[told])
    expression = {name: expression_truth.read(frames[told]) for name, frames in whole.items()}
    driving, systems = _pictures(state, clip, aligned, rendered, x264.frames, scored)
    systems |= {name: one.frames[scored] for name, one in calls.items()}
    truth = Truth(driving, networks)
    scores = {name: truth.score(frames, consecutive=every == 1) for name, frames in systems.items()}
    if every > 1:
        driving_before, before = _pictures(state, clip, aligned, rendered, x264.frames, scored - 1)
        before |= {name: one.frames[scored - 1] for name, one in calls.items()}
        for name, frames in systems.items():
            scores[name]["flicker"] = flicker_of_pairs((before[name], frames), (driving_before, driving))
    scores["x264"]["kbps"] = x264.kbps()
    for name, one in calls.items():
        scores[name]["kbps"] = one.kbps
    return ClipResult(clip.name, scores, expression, driving, systems)


def _pictures(
    state: SourceState, clip: Clip, motions: Motion, rendered: Frames, x264: Frames, which: NDArray[np.intp]
) -> tuple[Frames, dict[str, Frames]]:
    """The driving frames that `which` picks, and what each system makes of them."""
    source, driving = clip.source_frame, clip.frames[which]
    systems = {
        "model": rendered[which],
        "copy": np.broadcast_to(source, driving.shape),
        "warp": _warp(state, source, motions[which]),
        "x264": x264[which],
    }
    return driving, systems


def report(
    per_clip: dict[str, dict[str, Scores]], expression: dict[str, dict[str, Expression]] | None = None
) -> dict[str, Any]:
    """Means over clips of each system at the top level ("model", "copy", ...), single clips under "clips".

    "lpips_share" is the model's mean LPIPS as a share of the copy baseline's, "flicker_share" its flicker as a share
    of x264's at CRF 36. Raises ValueError without clips.
    """
    if not per_clip:
        raise ValueError("no clips to report on")
    systems = next(iter(per_clip.values()))
    means: dict[str, Any] = {name: mean_scores([scores[name] for scores in per_clip.values()]) for name in systems}
    means["lpips_share"] = _share(means["model"]["lpips"], means["copy"]["lpips"])
    means["flicker_share"] = _share(means["model"]["flicker"], means["x264"]["flicker"])
    if expression:
        read = list(expression.values())
        means["expression"] = {
            name: {
                instrument: mean_expression([clip[name][instrument] for clip in read if instrument in clip[name]])
                for instrument in ("mesh", "dlib")
            }
            for name in read[0]
        } | {"clips": expression}
    return {**means, "clips": per_clip}


def sheet(result: ClipResult, columns: int = 6) -> Image.Image:
    """Contact sheet of a clip: truth and each system but the copy, at frames spread over the clip."""
    picks = np.linspace(0, len(result.truth) - 1, min(columns, len(result.truth))).round().astype(int)
    shown = {"truth": result.truth, "model": result.systems["model"], "warp": result.systems["warp"]}
    source = ("source", result.systems["copy"][0])
    return contact_sheet([[source, *((f"{name} {i}", frames[i]) for i in picks)] for name, frames in shown.items()])


def table(figures: dict[str, Any]) -> str:
    """The report as text: a line per clip and system, means last."""
    names = ("lpips", "psnr", "ssim", "ms_ssim", "l1", "akd", "pose", "csim", "flicker")
    width = max(len(name) for name in (*figures["clips"], "mean"))
    lines = [f"{'clip':{width}}  {'system':6}" + "".join(f"{name:>9}" for name in names)]
    shown = [system for system in (*SYSTEMS, *CALLS) if system in figures]
    means = {system: figures[system] for system in shown}
    for clip, systems in (*figures["clips"].items(), ("mean", means)):
        for system in shown:
            values = (systems[system].get(name) for name in names)
            cells = "".join(f"{'-':>9}" if v is None else f"{v:9.2f}" if v >= 10 else f"{v:9.4f}" for v in values)
            lines.append(f"{clip:{width}}  {system:6}{cells}")
    return "\n".join(lines + _expression_table(figures.get("expression", {})))


def _expression_table(figures: dict[str, Any]) -> list[str]:
    """R and slope of each feature, a line per system and instrument."""
    lines = []
    for system, instruments in figures.items():
        for instrument, read in instruments.items() if system != "clips" else ():
            cells = "".join(
                f"{'-':>14}" if (one := read.get(name)) is None else f"{one['r']:8.2f} /{one['slope']:4.2f}"
                for name in FEATURES
            )
            lines.append(f"{system:10}{instrument:6}{cells}")
    return ["", f"{'r / slope':16}" + "".join(f"{name:>14}" for name in FEATURES), *lines] if lines else []


def _warp(state: SourceState, source: Frames, motions: Motion) -> Frames:
    picture = as_tensor(source[None])
    at_source = compose(state.canonical, state.motion).float().cpu()
    warped = []
    for start in range(0, len(motions), BATCH):
        motion = motions[start : start + BATCH].to_torch()
        at_driving = compose(state.canonical, motion.to_torch(state.canonical.points.device)).float().cpu()
        warped.append(as_frames(keypoint_warp(picture, at_source, at_driving)))
    return np.concatenate(warped)


def _share(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
