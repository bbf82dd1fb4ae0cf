"""What a person watches during training: a progress bar, TensorBoard scalars where installed, sample sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from model.networks.rendered import Rendered
from model.train.objective import Outcome
from model.train.trainer import Training


class Reports:
    """Called by the training loop every few steps."""

    def __init__(self, training: Training, out: Path, sheet_every: int = 200) -> None:
        self._training, self._out, self._sheet_every = training, out, sheet_every
        self._bar = tqdm(
            total=1.0, initial=training.progress, bar_format="{percentage:3.0f}%|{bar}| {elapsed} {postfix}"
        )
        self._writer: Any = None
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:  # TensorBoard is a training extra; log.jsonl holds the same numbers
            return
        self._writer = SummaryWriter(str(out / "tensorboard"))

    def __call__(self, step: int, row: dict[str, float], outcome: Outcome) -> None:
        """Show the means of the last steps."""
        self._bar.update(self._training.progress - self._bar.n)
        names = [name for name in ("perceptual", "pixel", "keypoint", "pose") if name in row]
        self._bar.set_postfix({"step": str(step)} | {name: f"{row[name]:.4f}" for name in names})
        if self._writer:
            for name, value in row.items():
                self._writer.add_scalar(name, value, step)
        if step % self._sheet_every == 0 and outcome.rendered is not None:
            sheet(outcome.target, outcome.rendered, self._out / f"sheet-{step:06d}.png")


def sheet(target: Tensor, rendered: Rendered, path: Path) -> None:
    """A row per frame: target, rendered, matte, occlusion."""
    rows = []
    for i in range(min(6, len(target))):
        size = target.shape[-1]
        parts = [target[i], rendered.frame[i]]
        for field in (rendered.matte, rendered.occlusion):
            if field is not None:
                shown = torch.nn.functional.interpolate(field[i : i + 1].float(), size=size)[0]
                parts.append(shown.expand(3, -1, -1))
        rows.append(torch.cat([p.detach().float().cpu() for p in parts], 2))
    picture = (torch.cat(rows, 1).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(path)
