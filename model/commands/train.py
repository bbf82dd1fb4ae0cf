"""`python -m model train`: train the small profile on prepared clips."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

HELP = "train the small profile on clips that `prepare` made"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--data", type=Path, default=Path("prepared"), metavar="DIR", help="folder that `prepare` wrote"
    )
    parser.add_argument("--out", type=Path, default=Path("run"), metavar="DIR", help="checkpoints, log and samples")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training time; the schedule follows it")
    budget.add_argument("--steps", type=int, help="optimiser steps; the schedule follows them")
    parser.add_argument("--licence", choices=["open"], help="train on clips of the open class alone")
    parser.add_argument("--groups", type=int, default=4, help="source images a step (default 4)")
    parser.add_argument("--driving", type=int, default=2, help="driving frames per source image (default 2)")
    parser.add_argument("--rate", type=float, default=4e-4, help="learning rate (default 4e-4)")
    parser.add_argument(
        "--keypoint-steps", type=int, default=1200, help="first steps, of keypoint losses alone (default 1200)"
    )
    parser.add_argument("--teacher", type=int, nargs=2, default=(200, 1500), metavar=("FROM", "TO"),
                        help="steps between which the teacher's keypoints fade out (default 200 1500)")  # fmt: skip
    parser.add_argument("--warmup", type=int, default=100, help="steps of learning-rate warm-up (default 100)")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin with the weights of another run")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--limit", type=int, help="use only the first LIMIT clips")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> int:
    """Train until the budget is spent; continue when the folder holds a checkpoint."""
    import torch

    from model.evaluate.perceptual import Lpips
    from model.networks.small import SmallNetworks
    from model.train.data import ClipSet
    from model.train.objective import Weights
    from model.train.reports import Reports
    from model.train.start import start_from_teacher
    from model.train.trainer import Training, TrainingConfig
    from model.train.trainer import run as train

    if options.threads:
        torch.set_num_threads(options.threads)
    distributed = "WORLD_SIZE" in os.environ
    if distributed:
        torch.distributed.init_process_group()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    name = options.device if options.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    torch.backends.cudnn.benchmark = True
    options.out.mkdir(parents=True, exist_ok=True)

    clips = ClipSet(options.data, device, options.licence, options.limit)
    print(f"{len(clips.clips)} clips of {len(clips.names)} people, {sum(len(c.rows) for c in clips.clips)} frames")
    torch.manual_seed(options.seed)
    networks = SmallNetworks()
    start_from_teacher(networks, clips)
    config = TrainingConfig(
        minutes=options.minutes,
        steps=options.steps,
        groups=options.groups,
        driving=options.driving,
        keypoint_steps=options.keypoint_steps,
        learning_rate=options.rate,
        teacher=tuple(options.teacher),
        warmup=options.warmup,
        seed=options.seed,
    )
    training = Training(networks, clips, Lpips().to(device), config, Weights())
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
        print(f"resumed at step {training.step}, {training.seconds / 60:.1f} minutes spent")
    elif options.start:
        training.resume(options.start)
        training.restart()
    try:
        train(training, options.out, Reports(training, options.out))
    finally:
        if distributed:
            torch.distributed.destroy_process_group()
    return 0
