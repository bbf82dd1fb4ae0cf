"""The training loop: budget, schedule, checkpoints, moving average, several GPUs. Knows no loss and no data format.

Training is resumable at any step: the checkpoint holds weights, their moving average, optimiser and step, and batches
are a function of (seed, step). Under a budget in steps a resumed run repeats an unbroken one bit by bit.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from model.errors import InputError
from model.media.atomic_file import complete_file
from model.train.ahead import Ahead
from model.train.data import Batch, ClipSet
from model.train.objective import Objective, Outcome

AHEAD = 6
"""Batches that are made ahead for a GPU."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long, and how carefully. One of `minutes` and `steps` is the budget that the schedule follows."""

    minutes: float | None = None
    steps: int | None = None
    average: float = 0.998  # of the weights' moving average
    clip: float = 1.0  # gradient norm
    betas: tuple[float, float] = (0.9, 0.99)  # of AdamW
    seed: int = 0
    checkpoint_seconds: float = 180.0
    report_steps: int = 20


class Training:
    """State of one training run."""

    def __init__(self, networks: nn.Module, clips: ClipSet, objective: Objective, config: TrainingConfig) -> None:
        """`networks` are on the clips' device already. Raises InputError without a budget or with two."""
        if (config.minutes is None) == (config.steps is None):
            raise InputError("give the budget either in minutes or in steps")
        self.config, self.clips, self.networks, self.objective = config, clips, networks, objective
        self.average = copy.deepcopy(self.networks).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.networks.parameters(),
            betas=config.betas,
            weight_decay=1e-2,
            fused=clips.device.type == "cuda",  # one kernel for all weights: to launch one for each takes longer
        )
        self.step = 0
        self.seconds = 0.0
        # A GPU waits for batches that only the step before it has begun; a CPU has no time to spare for more.
        self._batches = Ahead(self._batch, AHEAD if clips.device.type == "cuda" else 0)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        assert self.config.minutes is not None
        return min(1.0, self.seconds / (60 * self.config.minutes))

    def learning_rate(self) -> float:
        """Rate of the coming step."""
        return self.objective.rate(self.step, self.progress)

    def train_step(self) -> Outcome:
        """One optimiser step on the batch that belongs to this step."""
        began = time.monotonic()
        self.networks.train()
        batch = self._batches.take(self.step)
        outcome = self.objective.evaluate(batch, self.step, self.progress, self._seed(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(outcome.total)
        average_gradients(self.networks)
        norm = nn.utils.clip_grad_norm_(self.networks.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        if torch.isfinite(norm):  # a broken batch must not break the weights
            self.optimiser.step()
        self.objective.finish(outcome)
        self._average()
        self.step += 1
        self.seconds = _first_says(self.seconds + time.monotonic() - began)
        return outcome

    def close(self) -> None:
        """End what makes batches ahead."""
        self._batches.close()

    def _seed(self, step: int) -> int:
        return (self.config.seed * 1_000_003 + step) * max(1, world_size()) + rank()

    def _batch(self, step: int) -> Batch:
        shape = self.objective.shape(step)
        made = self.clips.batches(
            shape.groups,
            shape.driving,
            self._seed(step),
            stills=shape.stills,
            understood=shape.understood,
            paired=shape.paired,
        )
        return self.objective.label(next(made), step)

    def _average(self) -> None:
        # A young average follows faster, so that early checkpoints are worth looking at.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            mine, theirs = self.average.state_dict(), self.networks.state_dict()
            numbers = [name for name, value in theirs.items() if value.is_floating_point()]
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # a few kernels for all weights
            average([mine[name] for name in numbers], [theirs[name] for name in numbers], None)
            for name in theirs.keys() - numbers:
                mine[name].copy_(theirs[name])

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step: a cut leaves the one before it."""
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "objective": self.objective.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with complete_file(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> None:
        """Continue a run. Raises InputError when the file is not a checkpoint of these networks."""
        try:
            state = torch.load(path, map_location=self.clips.device, weights_only=True)
            self.networks.load_state_dict(state["networks"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.objective.load_state_dict(state.get("objective", {}))
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError) as error:
            raise InputError(f"{path} is no checkpoint of these networks: {str(error).splitlines()[0]}") from None

    def restart(self) -> None:
        """Keep the weights of a resumed run, but begin this run's budget and schedule anew."""
        self.step, self.seconds = 0, 0.0


def run(training: Training, out: Path, on_report: Callable[[int, dict[str, float], Outcome], None]) -> None:
    """Train until the budget is spent; checkpoints and `log.jsonl` go to `out`."""
    last = time.monotonic()
    sums: dict[str, Tensor] = {}
    with (out / "log.jsonl").open("a") as log:
        while training.progress < 1.0:
            outcome = training.train_step()
            for name, value in outcome.parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach()  # read at the report: a GPU need not wait for it
            every = training.config.report_steps
            if training.step % every == 0:
                row = {name: float(total) / every for name, total in sums.items()}
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


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _first_says(value: float) -> float:
    """The first process's value in all of them: a budget in minutes must end for all after the same step."""
    if world_size() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    if dist.get_backend() == "nccl":
        shared = shared.cuda()
    dist.broadcast(shared, 0)
    return float(shared)


def average_gradients(networks: nn.Module) -> None:
    """Mean of the gradients over processes (`torchrun`); nothing to do for one."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in networks.parameters() if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])  # one message, not one for each
    shared = together if dist.get_backend() == "nccl" else together.cpu()
    dist.all_reduce(shared)
    mean = (shared / world_size()).to(together.device)
    parts = torch.split(mean, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
