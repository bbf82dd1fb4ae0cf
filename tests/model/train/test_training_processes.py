"""Training on several processes: they take the same steps and end after the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.training_set import write_training_set

PROCESS = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from model.networks.small import SmallNetworks
from model.train.data import ClipSet
from model.train.guided import GuidedConfig, GuidedObjective
from model.train.trainer import Training, TrainingConfig, run

folder, out, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
torch.manual_seed(0)
networks = SmallNetworks()
objective = GuidedObjective(networks, lambda a, b: (a - b).abs().mean((1, 2, 3)), GuidedConfig(keypoint_groups=2))
training = Training(networks, ClipSet(folder, torch.device("cpu")), objective, TrainingConfig(minutes=0.03))
training.seconds = 1.0 * rank  # a process whose clock runs ahead must not leave the other one waiting
run(training, out, lambda *_: None)
total = sum(float(p.double().sum()) for p in networks.parameters())
print(training.step, repr(total), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_end_together_with_the_same_weights(tmp_path: Path) -> None:
    write_training_set(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(  # makes the frame store, which two processes at once would both write
        [sys.executable, "-c", "import sys, torch; from pathlib import Path; from model.train.data import ClipSet; "
         "ClipSet(Path(sys.argv[1]), torch.device('cpu'))", str(tmp_path)],
        check=True, timeout=120,
    )  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), str(out), str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        answers = [process.communicate(timeout=150) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(answer[1] for answer in answers)
    first, second = (answer[0].split() for answer in answers)
    assert first == second
    assert int(first[0]) >= 1
