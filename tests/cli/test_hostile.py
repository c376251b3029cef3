"""Strangers' files on the command line: whatever they say, nothing outside `--out` changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.command import run_command

from neuronspec.neurons.masks import NeuronMasks

FAST = ("analyze.permutations=99", "analyze.resamples=20", "analyze.shares=[0.9]")


def list_files(folder: Path) -> dict[str, str]:
    """Return every file below a folder with a hash of its content."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that a hostile name aims at; the command runs deep inside it."""
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    for suffix in ("svg", "png", "csv"):
        for place in (tmp_path, tmp_path / "a", tmp_path / "a" / "b", work):
            (place / f"logo.{suffix}").write_text("mine")
    monkeypatch.chdir(work)
    return tmp_path


@pytest.mark.parametrize("depth", range(1, 6))
@pytest.mark.parametrize("kind", ["masks", "counts"])
def test_a_layer_that_leads_out_of_the_folder_changes_nothing(
    kind: str, depth: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = f"encoder./{'../' * depth}logo"
    masks = {"tasks": ["de-en", "fr-en"], "widths": {layer: 8}, "signature": {}, "version": "0"}
    counts = {"tasks": ["de-en", "fr-en"], "layers": [layer], "unit": "sentence", "signature": {}}
    if kind == "masks":
        tensors = {layer: torch.tensor([[129], [144]], dtype=torch.uint8)}
        save_file(tensors, "neuron_masks.safetensors", {"neuronspec": json.dumps(masks)})
    else:
        tensors = {f"counts.{layer}": torch.arange(16).reshape(2, 8)}
        tensors |= {f"totals.{stack}": torch.tensor([20, 20]) for stack in ("encoder", "decoder")}
        save_file(tensors, "activation_counts.safetensors", {"neuronspec": json.dumps(counts)})
    before = list_files(home)
    assert run_command("analyze", ".", *FAST, "--out", "out") == 2
    assert "a layer is called encoder.N or decoder.N, not" in capsys.readouterr().err
    assert list_files(home) == before


def test_tasks_that_look_like_paths_are_analyzed_inside_the_folder(home: Path) -> None:
    tasks = ["../../../logo", "/etc/passwd", "=cmd|' /C calc'!A1", "CON"]
    masks = NeuronMasks(tasks, {"encoder.0": torch.eye(4, 9) > 0, "decoder.0": torch.eye(4, 9) == 0})
    masks.save_pretrained("masks")
    before = list_files(home)
    assert run_command("analyze", "masks", *FAST, "--out", "out") == 0
    after = list_files(home)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("a/b/work/out/") for name in after.keys() - before.keys())


@pytest.mark.parametrize("name", ["analyze", "analyze/figures", "analyze/report.html"])
def test_links_in_a_place_for_results_are_not_followed(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = NeuronMasks(["de-en", "fr-en"], {"encoder.0": torch.eye(2, 9) > 0})
    masks.save_pretrained("masks")
    Path("out", name).parent.mkdir(parents=True)
    Path("out", name).symlink_to(home / "a" if "." not in name else home / "logo.svg")
    before = list_files(home)
    assert run_command("analyze", "masks", *FAST, "--out", "out", "--force") == 2
    assert "is a link that leads out of out" in capsys.readouterr().err
    assert list_files(home) == before


@pytest.mark.parametrize("arguments", [["record", "--model", "nosuch", "--text", "de\x1b[2J-en=text.tsv"]])
def test_names_that_a_file_may_not_have_are_refused_before_any_work(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(*arguments) == 2
    assert "cannot name a task" in capsys.readouterr().err


def test_a_model_directory_that_names_another_model_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model").mkdir()
    Path("model", "config.json").write_text("{}")
    Path("model", "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    assert run_command("translate", "--model", "./model", "en-de", "Hello") == 2
    assert "adapter of PEFT" in capsys.readouterr().err
