"""The training loop: budget, schedule, checkpoints, moving average, several GPUs. Knows no loss and no data format.

Training is resumable at any step: the checkpoint holds weights, their moving average, optimiser and step, and batches
are a function of (seed, step). Under a budget in steps a resumed run repeats an unbroken one bit by bit.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from model.errors import InputError
from model.networks.small import SmallNetworks
from model.train.data import ClipSet
from model.train.objective import Distance, Outcome, Weights, evaluate, evaluate_keypoints


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast. One of `minutes` and `steps` is the budget that the schedule follows."""

    minutes: float | None = None
    steps: int | None = None
    groups: int = 4  # source images a step
    driving: int = 2  # driving frames per source image
    keypoint_steps: int = 1200  # first steps, of keypoint losses alone: cheap, on many people at once
    keypoint_groups: int = 16  # people in each of those steps, two frames of each
    keypoint_rate: float = 1e-3  # their learning rate
    learning_rate: float = 4e-4
    final_rate: float = 0.03  # share of the rate that is left at the end
    warmup: int = 100  # steps
    teacher: tuple[int, int] = (200, 1500)  # steps of picture losses between which the teacher fades out
    average: float = 0.998  # of the weights' moving average
    clip: float = 1.0  # gradient norm
    seed: int = 0
    checkpoint_seconds: float = 180.0
    report_steps: int = 20


class Training:
    """State of one training run."""

    def __init__(
        self, networks: SmallNetworks, clips: ClipSet, perceptual: Distance, config: TrainingConfig, weights: Weights
    ) -> None:
        if (config.minutes is None) == (config.steps is None):
            raise InputError("give the budget either in minutes or in steps")
        self.config, self.weights, self.clips, self.perceptual = config, weights, clips, perceptual
        self.networks = networks.to(clips.device)
        self.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.networks).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.networks.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2
        )
        self.step = 0
        self.seconds = 0.0

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        assert self.config.minutes is not None
        return min(1.0, self.seconds / (60 * self.config.minutes))

    def learning_rate(self) -> float:
        """Warm-up, then a cosine over the budget."""
        c = self.config
        cosine = c.final_rate + (1 - c.final_rate) * 0.5 * (1 + math.cos(math.pi * self.progress))
        rate = c.keypoint_rate if self.picture_step < 0 else c.learning_rate * cosine
        return rate * min(1.0, (self.step + 1) / c.warmup)

    @property
    def picture_step(self) -> int:
        """Steps of picture losses so far; negative while keypoints are learned alone."""
        return self.step - self.config.keypoint_steps

    def teacher_share(self) -> float:
        start, end = self.config.teacher
        return min(1.0, max(0.0, (end - self.picture_step) / max(1, end - start)))

    def train_step(self) -> Outcome:
        """One optimiser step on the batch that belongs to this step."""
        began = time.monotonic()
        self.networks.train()
        seed = (self.config.seed * 1_000_003 + self.step) * max(1, world_size()) + rank()
        keypoints_alone = self.picture_step < 0
        groups = self.config.keypoint_groups if keypoints_alone else self.config.groups
        batch = next(self.clips.batches(groups, 1 if keypoints_alone else self.config.driving, seed))
        with precision(self.clips.device):
            if keypoints_alone:
                outcome = evaluate_keypoints(self.networks, batch, self.weights)
            else:
                outcome = evaluate(self.networks, batch, self.perceptual, self.weights, self.teacher_share(), seed)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(outcome.total)
        average_gradients(self.networks)
        norm = nn.utils.clip_grad_norm_(self.networks.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        if torch.isfinite(norm):  # a broken batch must not break the weights
            self.optimiser.step()
        self._average()
        self.step += 1
        self.seconds += time.monotonic() - began
        return outcome

    def _average(self) -> None:
        # A young average follows faster, so that early checkpoints are worth looking at.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            mine = self.average.state_dict()
            for name, value in self.networks.state_dict().items():
                if value.is_floating_point():
                    mine[name].lerp_(value, 1 - decay)
                else:
                    mine[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step: a cut leaves the one before it."""
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Continue a run. Raises InputError when the file is not a checkpoint of these networks."""
        try:
            state = torch.load(path, map_location=self.clips.device, weights_only=True)
            self.networks.load_state_dict(state["networks"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError) as error:
            raise InputError(f"{path} is no checkpoint of these networks: {str(error).splitlines()[0]}") from None

    def restart(self) -> None:
        """Keep the weights of a resumed run, but begin this run's budget and schedule anew."""
        self.step, self.seconds = 0, 0.0


def run(training: Training, out: Path, on_report: Callable[[int, dict[str, float], Outcome], None]) -> None:
    """Train until the budget is spent; checkpoints and `log.jsonl` go to `out`."""
    last = time.monotonic()
    sums: dict[str, float] = {}
    with (out / "log.jsonl").open("a") as log:
        while training.progress < 1.0:
            outcome = training.train_step()
            for name, value in outcome.parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            every = training.config.report_steps
            if training.step % every == 0:
                row = {name: total / every for name, total in sums.items()}
                sums = {}
                row |= {"seconds": training.seconds, "rate": training.learning_rate()}
                if rank() == 0:
                    log.write(json.dumps({"step": training.step} | {k: round(v, 6) for k, v in row.items()}) + "\n")
                    log.flush()
                    on_report(training.step, row, outcome)
            if rank() == 0 and time.monotonic() - last > training.config.checkpoint_seconds:
                training.save(out / "checkpoint.pt")
                last = time.monotonic()
    if rank() == 0:
        training.save(out / "checkpoint.pt")
        (out / "config.json").write_text(
            json.dumps({"config": asdict(training.config), "weights": asdict(training.weights)}, indent=1)
        )


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 on a GPU, float32 on a CPU, where half precision is slower."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def average_gradients(networks: nn.Module) -> None:
    """Mean of the gradients over processes (`torchrun`); nothing to do for one."""
    if world_size() == 1:
        return
    for parameter in networks.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size()
