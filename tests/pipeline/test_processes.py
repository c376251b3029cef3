"""The same command on two processes: one result, told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.patience import PATIENCE
from tests.processes import COMMAND, call, call_together, finish, start_together
from tests.stage_lines import read_stages

from neuronspec.cli.main import app
from neuronspec.files import hash_path

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def test_r2_two_processes_train_what_one_does(tmp_path: Path, write_project: Callable[[Path], None]) -> None:
    write_project(tmp_path)
    weights, said = [], []
    for name, processes in (("alone", 1), ("together", 2)):
        words = ["train", "toy.yaml", "train.batches_per_update=2", "--out", name]
        done = call_together([*COMMAND, *words], tmp_path, processes=processes)
        assert not any(one.returncode for one in done), done
        said.append("".join(one.stdout for one in done).replace(name, "OUT"))
        weights.append(load_file(tmp_path / name / "train" / "pretrained" / "model" / "model.safetensors"))
    assert said[0] == said[1]
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-5) for key in weights[0])


@pytest.mark.slow
def test_r2_a_process_that_is_killed_ends_the_others_and_another_number_resumes(
    tmp_path: Path, write_project: Callable[[Path], None]
) -> None:
    write_project(tmp_path)
    words = [*COMMAND, "train", "toy.yaml", "train.batches_per_update=4", "train.updates=60", "--out"]
    started = start_together([*words, "changed"], tmp_path, processes=4)
    checkpoints = tmp_path / "changed" / "train" / "pretrained" / "checkpoints"
    deadline = time.monotonic() + PATIENCE
    while not list(checkpoints.glob("checkpoint-*")) and time.monotonic() < deadline:
        assert all(one.poll() is None for one in started), [one.communicate() for one in started]
        time.sleep(0.01)

    # The others would wait for a week; they notice a broken connection at once.
    started[2].kill()
    done = [finish(one) for number, one in enumerate(started) if number != 2]
    assert [one.returncode for one in done] == [2, 2, 2], done
    for one in done:
        assert "another one of the 4 processes of this command has ended" in one.stderr.splitlines()[-1]

    # Two processes go on where four were; the batches of each update stay the same.
    assert not any(one.returncode for one in call_together([*words, "changed"], tmp_path, processes=2))
    assert call([*words, "alone"], tmp_path).returncode == 0
    changed, alone = (
        _read_log(tmp_path / name / "train" / "pretrained" / "log.jsonl") for name in ("changed", "alone")
    )
    assert [line["train"]["target_tokens"] for line in changed] == [line["train"]["target_tokens"] for line in alone]

    # The order of sums differs between numbers of processes, and Adam makes much of the last bits.
    losses = [[line["valid"]["loss"]["all"] for line in lines] for lines in (changed, alone)]
    assert len(losses[0]) == 15
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def _read_log(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Several commands of one program, since starting it takes longer than what they do. The last one is for one process.
SEVERAL = """
import json, sys
from neuronspec.cli.main import app
for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
"""


def _commands(out: str) -> list[list[str]]:
    """What several processes do together, on whatever device there is: without one, they used to be strangers."""
    model = f"{out}/run/train/pretrained/model"
    text = [f"--text={source}-{target}=corpus.{lang}.tsv" for source, target, lang in (("en", "de", "de"),)]
    text += ["--text=sv-en=corpus.sv.tsv", "--text=en-sv=corpus.sv.tsv"]
    run = ["toy.yaml", "device=auto", "train.updates=2", "train.batches_per_update=2", "--out", f"{out}/run"]
    grid = ["en-de", "sv-en", "en-sv", "--input", "input.{src}", "--to", f"{out}/{{task}}.txt", "--beams", "1"]
    return [
        ["prepare", *run],
        ["record", *run],
        ["record", "--model", model, *text, "record.means=true", "--out", f"{out}/counted"],
        ["translate", "--model", model, *grid],
        ["select", f"{out}/counted", "--to", f"{out}/selected"],
    ]


def test_two_processes_without_a_gpu_share_prepare_record_and_translate(
    tmp_path: Path, write_project: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    (tmp_path / "input.en").write_text("the cat sees the dog\nthe small house\n", encoding="utf-8")
    (tmp_path / "input.sv").write_text("den katt ser den hund\n", encoding="utf-8")
    words = ["-c", SEVERAL, json.dumps(_commands("together"))]
    for done in call_together(words, tmp_path, {"CUDA_VISIBLE_DEVICES": ""}):
        assert done.returncode == 0, done.stderr

    monkeypatch.chdir(tmp_path)
    for words in _commands("alone"):
        app(words, standalone_mode=False)
    for name in (
        "run/prepare/tokens/train",
        "run/prepare/vocabulary/tokenizer.json",
        "run/record/activation_counts.safetensors",
        "counted/activation_counts.safetensors",
        "selected/neuron_masks.safetensors",
        "en-de.txt",
        "sv-en.txt",
        "en-sv.txt",
    ):
        assert hash_path(tmp_path / "together" / name) == hash_path(tmp_path / "alone" / name), name
    assert not (tmp_path / "together" / "counted" / ".recording").exists()


def test_two_processes_share_the_stages_of_another_run(tmp_path: Path, write_project: Callable[[Path], None]) -> None:
    write_project(tmp_path)
    run = ["train.updates=2", "train.batches_per_update=2"]
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    alone = call([*COMMAND, "select", "toy.yaml", *run, "--out", "alone"], tmp_path, environment)
    assert alone.returncode == 0, alone.stderr

    # With the real launcher, which the other tests replace by its variables
    done = subprocess.run(
        [*TORCHRUN, *COMMAND, "select", "toy.yaml", *run, "select.k=0.5", "--from", "alone", "--out", "together"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    # The first process decides and works; the other one learns of it.
    said = read_stages(done.stderr.splitlines())
    assert [line for line in said if "shared" in line] == [
        f"{stage}: shared from alone" for stage in ("prepare", "train", "record")
    ]
    assert said.count("select: finished") == 1
    counts = Path("record", "activation_counts.safetensors")
    assert (tmp_path / "together" / counts).samefile(tmp_path / "alone" / counts)
