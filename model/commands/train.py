"""`python -m model train`: train a profile on prepared clips."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

HELP = "train a profile on clips that `prepare` made"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--profile", choices=["small", "paper"], default="small", help="networks (default small)")
    parser.add_argument("--objective", choices=["guided", "published"],
                        help="guided: a landmark teacher starts the keypoints (default of small); "
                        "published: the paper's six losses (default of paper)")  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("prepared"), metavar="DIR", help="what `prepare` wrote")
    parser.add_argument("--out", type=Path, default=Path("run"), metavar="DIR", help="checkpoints, log and samples")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training time; the schedule follows it")
    budget.add_argument("--steps", type=int, help="optimiser steps; the schedule follows them")
    parser.add_argument("--licence", choices=["open"], help="train on clips of the open class alone")
    parser.add_argument("--groups", type=int, default=4, help="source images a step (default 4)")
    parser.add_argument("--driving", type=int, default=2, help="guided: driving frames per source (default 2)")
    parser.add_argument("--rate", type=float, help="learning rate (default: the objective's)")
    parser.add_argument("--keypoint-steps", type=int, default=1200,
                        help="guided: first steps, of keypoint losses alone (default 1200)")  # fmt: skip
    parser.add_argument("--keypoint-rate", type=float, default=1e-3,
                        help="guided: learning rate of the first steps (default 1e-3)")  # fmt: skip
    parser.add_argument("--flow-steps", type=int, default=1000,
                        help="guided: then steps of dense motion alone (default 1000)")  # fmt: skip
    parser.add_argument("--teacher", type=int, nargs=2, default=(200, 1500), metavar=("FROM", "TO"),
                        help="guided: steps between which the teacher fades out (default 200 1500)")  # fmt: skip
    parser.add_argument("--fixed-keypoints", action="store_true",
                        help="guided: only the steps of keypoint losses alone train the keypoints")  # fmt: skip
    parser.add_argument("--photos", type=float, default=0.0, metavar="SHARE",
                        help="guided: share of the sources of pictures that are photos (default 0)")  # fmt: skip
    parser.add_argument("--pairs", action="store_true",
                        help="guided: driving frames are pairs of neighbours, their difference is learned")  # fmt: skip
    parser.add_argument("--adversary", type=float, metavar="SHARE",
                        help="guided: a discriminator joins at this share of the budget (default: never)")  # fmt: skip
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="FILE", help="begin with a checkpoint or with exported weights"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--limit", type=int, help="use only the first LIMIT clips")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> int:
    """Train until the budget is spent; continue when the folder holds a checkpoint."""
    import torch

    from model.device import choose_device
    from model.errors import InputError
    from model.train.data import ClipSet
    from model.train.reports import Reports
    from model.train.runs import networks_of, objective_of, start_from_weights
    from model.train.trainer import Training, TrainingConfig
    from model.train.trainer import run as train

    if not 0 <= options.photos <= 1:
        raise InputError("--photos must be a share from 0 to 1")
    if options.threads:
        torch.set_num_threads(options.threads)
    distributed = "WORLD_SIZE" in os.environ
    if distributed:
        gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        # NCCL knows one process a GPU. More of them are worth it: one alone takes longer to launch than a GPU to run.
        torch.distributed.init_process_group("nccl" if 0 < here <= gpus else "gloo")
        if gpus:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % gpus)
    device = choose_device(options.device)
    torch.backends.cudnn.benchmark = True
    options.out.mkdir(parents=True, exist_ok=True)

    clips = ClipSet(options.data, device, options.licence, options.limit)
    print(f"{len(clips.clips)} clips of {len(clips.names)} people, {sum(len(c.rows) for c in clips.clips)} frames")
    torch.manual_seed(options.seed)
    networks = networks_of(options.profile, clips)
    if options.start and options.start.suffix == ".safetensors":
        start_from_weights(networks, options.start)
    objective = objective_of(options, networks, device)
    config = TrainingConfig(minutes=options.minutes, steps=options.steps, seed=options.seed)
    training = Training(networks, clips, objective, config)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
        print(f"resumed at step {training.step}, {training.seconds / 60:.1f} minutes spent")
    elif options.start and options.start.suffix != ".safetensors":
        training.resume(options.start)
        training.restart()
    try:
        train(training, options.out, Reports(training, options.out))
    finally:
        training.close()
        if distributed:
            torch.distributed.destroy_process_group()
    return 0
