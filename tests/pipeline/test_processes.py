"""The same command on two processes: one result, told once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

ALONE = (sys.executable, "-m", "neuronspec.cli.main")
TOGETHER = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc_per_node",
    "2",
    "-m",
    "neuronspec.cli.main",
)


def test_r2_two_processes_train_what_one_does(tmp_path: Path, write_project: Callable[[Path], None]) -> None:
    write_project(tmp_path)
    weights, said = [], []
    for name, command in (("alone", ALONE), ("together", TOGETHER)):
        done = subprocess.run(
            [*command, "train", "toy.yaml", "training.batches_per_update=2", "--out", name],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.replace(name, "OUT"))
        weights.append(load_file(tmp_path / name / "models" / "pretrained" / "model.safetensors"))
    assert said[0] == said[1]
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-5) for key in weights[0])
