"""Systems of a run are exported with their masks, proven on its validation text; what cannot be is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.exports.other_methods import load_saved_masks
from neuronspec.methods import METHODS
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.pipeline.export_source import open_export_source, read_export_text
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run


def test_the_system_with_masks_is_exported_on_the_text_of_the_run(
    finished: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", "de-en", "--sentences", "4", "--max-tokens", "8", "--json")
    assert run_command("export", finished.out, *words, "-o", tmp_path / "run") == 0
    of_run = json.loads(capsys.readouterr().out)
    assert [one["equal"] for one in of_run["agreements"]] == [4, 4]

    # The directory of the model in the run means the same.
    model = Layout(finished.out).model("neuron_specialization")
    assert run_command("export", model, *words, "-o", tmp_path / "model") == 0
    of_model = json.loads(capsys.readouterr().out)
    assert (of_model["signature"], of_model["bytes"]) == (of_run["signature"], of_run["bytes"])


def test_any_system_and_all_tasks(finished: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("-f", "masks", "--sentences", "2", "--max-tokens", "4", "--json")
    assert run_command("export", finished.out, "--method", "pretrained+masks", *words, "-o", tmp_path / "all") == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found["tasks"]) == ["de-en", "en-de", "en-sv", "sv-en"]

    assert run_command("export", finished.out, "--method", "fine_tune", "--task", "de-en", "-o", tmp_path / "no") == 2
    assert "there are no masks: give some, or dense=True (--dense)" in capsys.readouterr().err
    assert run_command("export", finished.out, "-m", "fine_tun", "--task", "de-en", "-o", tmp_path / "no") == 2
    assert "has no method 'fine_tun' (did you mean 'fine_tune'?)" in capsys.readouterr().err


def test_an_unseen_direction_is_proven_on_text_of_its_source_language(finished: Config) -> None:
    run = Run(finished)
    texts = read_export_text(run, ["de-sv", "de-en", "deu-eng", "fr-en"], 3)
    assert texts["de-sv"] == texts["de-en"] == texts["deu-eng"]
    assert len(texts["de-en"]) == 3
    assert any("das" in line for line in texts["de-en"])
    assert "fr-en" not in texts
    assert open_export_source(run).masks is not None


OTHERS = [name for name, kind in METHODS.items() if kind.artifact and kind.artifact != MASKS_FILE]


@pytest.mark.parametrize("method", OTHERS)
def test_what_other_methods_leave_is_refused_by_name(method: str, tmp_path: Path) -> None:
    kind = METHODS[method]
    (tmp_path / kind.artifact).write_bytes(b"")
    with pytest.raises(NeuronspecError) as refused:
        load_saved_masks(tmp_path)
    said = str(refused.value)
    assert f"was trained with {method}, which keeps what each task has of its own in {kind.artifact}" in said
    assert ("export_peft" in said) == (method == "lora")


def test_nothing_is_exported_into_a_run(finished: Config, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (finished.out, finished.out / "export", finished.out / "train" / "fine_tune" / "model"):
        assert run_command("export", finished.out, "--task", "de-en", "--force", "-o", out) == 2
        assert "holds the results of a run" in capsys.readouterr().err
    assert not (finished.out / "export").exists()
