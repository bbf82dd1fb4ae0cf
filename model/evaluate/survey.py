"""The whole evaluation of a folder of clips: reconstruction, free view, reenactment, and the sheets to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.errors import VisavisError, WeightsError
from model.evaluate.clips import Clip, read_clip, with_source
from model.evaluate.evaluate import evaluate_clip, report, sheet
from model.evaluate.expression import Expression
from model.evaluate.free_view import Turned, summary, sweep
from model.evaluate.identity import IdentityNetwork
from model.evaluate.points68 import Points68
from model.evaluate.reenactment import Reenacted, reenact
from model.evaluate.scoring import Networks, Scores, mean_scores
from model.evaluate.sheets import contact_sheet, save_sheet
from model.perceptual.networks import Lpips
from model.talking_head import TalkingHead
from model.teacher.landmarks import Teacher, TeacherError

Say = Callable[[str], None]


def load_networks(teacher: Teacher, say: Say, *, vgg_every: int | None = None) -> Networks:
    """LPIPS, and the landmark teacher and the identity network where they are installed; `say` takes what is not.

    vgg_every   LPIPS by VGG16, too, on each n-th scored frame
    Raises WeightsError when the LPIPS weights are not in the cache.
    """
    lpips = Lpips()
    landmarks: Teacher | None = teacher
    try:
        teacher.landmarks(np.zeros((0, 16, 16, 3), np.uint8))  # starts the process, or says why it cannot
    except TeacherError as error:
        say(f"without AKD, head pose and the poses of free views: {error}")
        landmarks = None
    identity = None
    try:
        identity = IdentityNetwork()
    except WeightsError as error:
        say(f"without CSIM: {error}")
    points = None
    try:
        points = Points68()
    except WeightsError as error:
        say(f"without the second reading of expression: {error}")
    networks = Networks(lpips, landmarks, identity, points)
    return networks if vgg_every is None else replace(networks, lpips_vgg=Lpips("vgg"), vgg_every=vgg_every)


def survey(
    head: TalkingHead,
    paths: Iterable[Path],
    networks: Networks,
    *,
    every: int = 1,
    max_frames: int | None = None,
    with_source: Callable[[TalkingHead, Clip], Clip] = with_source,
    in_call: bool = False,
    sheets: Path | None = None,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Evaluate `head` on each clip.

    `evaluate.report` with "sources" (indices of the source images), "free_view", "cross", "skipped", "weights" added.

    with_source  chooses a clip's source image; as `encode` does unless given
    in_call also as a call sends it (model/evaluate/call.py)
    sheets  folder for contact sheets; without one free view and reenactment are left out.
    A clip that cannot be used is named under "skipped" with the reason. Raises the last clip's error when none can.
    """
    per_clip: dict[str, dict[str, Scores]] = {}
    expression: dict[str, dict[str, Expression]] = {}
    sources: dict[str, int] = {}
    skipped: dict[str, str] = {}
    turned: list[Turned] = []
    crossed: list[Reenacted] = []
    beginning: Clip | None = None
    previous: Clip | None = None
    problem: VisavisError | None = None
    for path in paths:
        try:
            clip = with_source(head, read_clip(head, path, max_frames))
        except VisavisError as error:
            skipped[path.name], problem = str(error), error
            say(str(error))
            continue
        result = evaluate_clip(head, clip, networks, every, in_call)
        expression[clip.name] = result.expression
        per_clip[clip.name] = result.scores
        sources[clip.name] = clip.source
        say(f"{clip.name}: LPIPS {result.scores['model']['lpips']:.4f}, copy {result.scores['copy']['lpips']:.4f}")
        if sheets is not None:
            save_sheet(sheet(result), sheets / f"{clip.name}.png")
            seen = sweep(head, clip, networks)
            turned += seen
            save_sheet(_free_view_sheet(seen), sheets / f"view_{clip.name}.png")
            if previous is not None:
                crossed.append(reenact(head, previous, clip, networks))
            beginning, previous = beginning or clip, clip
    if problem is not None and not per_clip:
        raise problem
    figures = report(per_clip, expression)
    if sheets is not None:
        if beginning is not None and previous is not None and previous is not beginning:
            crossed.append(reenact(head, previous, beginning, networks))
        figures["free_view"] = summary(turned)
        figures["cross"] = mean_scores([one.scores for one in crossed])
        for one in crossed:
            save_sheet(_cross_sheet(one), sheets / f"cross_{one.source}_by_{one.driving}.png")
    return {**figures, "sources": sources, "skipped": skipped, "weights": head.weights_hash}


def _free_view_sheet(turned: list[Turned]) -> Image.Image:
    rows: dict[float, list[tuple[str, Any]]] = {}
    for one in turned:
        read = "" if one.read is None else f" ({one.read[0]:.0f} {one.read[1]:.0f})"
        label = f"{one.view.yaw:+.0f} {one.view.pitch:+.0f}{read}"
        rows.setdefault(one.view.pitch, []).append((label, one.frame))
    return contact_sheet([rows[pitch] for pitch in sorted(rows, reverse=True)])


def _cross_sheet(one: Reenacted) -> Image.Image:
    picks = np.linspace(0, len(one.frames) - 1, min(8, len(one.frames))).round().astype(int)
    blank = np.full_like(one.source_frame, 255)
    return contact_sheet(
        [
            [("", blank), *(("driving", one.driving_frames[i]) for i in picks)],
            [("source", one.source_frame), *(("rendered", one.frames[i]) for i in picks)],
        ]
    )
