"""`neuronspec export`: a run or any model, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import run_command
from tests.translation.talkative_models import make_masks, make_model
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from neuronspec.models.loading import save_model

Export = Callable[..., int]


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model with masks next to it."""
    directory = tmp_path_factory.mktemp("models") / "masked"
    made = make_model("m2m_100", tokenizer)
    save_model(made, directory, tokenizer)
    make_masks(made).save_pretrained(directory)
    return directory


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Export:
    """Call `neuronspec export` in a folder with a file of text; return its exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dev.tsv").write_text("ab cd\tx\nef gh ij\ty\nkl a\tz\n", encoding="utf-8")

    def call(*arguments: str | Path) -> int:
        return run_command("export", *arguments)

    return call


def test_a_model_with_masks_is_exported_for_a_direction(
    export: Export, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(model, "--task", "de-en", "--text", "de-en=dev.tsv", "--max-tokens", "8", "-o", "out")
    shown = capsys.readouterr()
    assert done == 0, shown.err
    assert "de-en: greedy 3 of 3 outputs equal (the masks change 3); beam 5 3 of 3 outputs equal" in shown.out
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").config.encoder_ffn_dim < 48


def test_options_of_the_format_are_words(export: Export, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--task", "de-en", "--text", "de-en=dev.tsv", "--max-tokens", "8", "--json")
    assert export(model, "widths=own", *words, "-o", "own") == 0
    own = json.loads(capsys.readouterr().out)
    assert export(model, *words, "-o", "plain") == 0
    plain = json.loads(capsys.readouterr().out)
    assert own["parameters"] < plain["parameters"] < plain["dense_parameters"]
    assert own["signature"]["widths"] == "own"
    assert [one["equal"] for one in plain["agreements"]] == [3, 3]


def test_a_steering_is_exported_as_adapters(
    export: Export, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    (tmp_path / "factor.yaml").write_text("neurons: {decoder.1: [0, 1, 2, 3, 4, 5]}\nscale: -9\n")
    common = ("--text", "de-en=dev.tsv", "--max-tokens", "8", "--steer", "factor.yaml")
    assert export(model, "--task", "de-en", *common, "-f", "ia3", "-o", "out") == 0
    assert "outputs equal (masks and steering change 3)" in capsys.readouterr().out
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()

    assert export(model, "--task", "de-en", *common, "-o", "hf") == 2
    assert "--steer is for --format ia3: hf would lose it" in capsys.readouterr().err
    (tmp_path / "factor.yaml").write_text("neurons: {decoder.1: [0]}\nto: 1\n")
    assert export(model, "--task", "de-en", *common, "-f", "ia3", "-o", "hf") == 2
    assert "sets activations (to=)" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "an export is proven on real text: give some, --text TASK=FILE"),
        (["--text", "de-en=dev.tsv"], "the format hf needs a task (--task), one of de-en, en-de"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", "-f", "hg"], "unknown export format 'hg'"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", "width=own"], "has no option 'width' (did you mean 'widths'?)"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", "own"], "expected an option of the format, KEY=VALUE"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", "widths=2020-99-99"], "cannot read the value of"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", f"widths={'9' * 5000}"], "cannot read the value of"),
        (["--text", "de-en=dev.tsv", "--task", "de-en", "--method", "lora"], "--method names a training of a run"),
        (
            ["--text", "de-en=dev.tsv", "--task", "de-en", "--dense", "--masks", "m"],
            "give --masks or --dense, not both",
        ),
        (
            ["--text", "de-en=dev.tsv", "--task", "de-en", "--max-tokens", "99999999"],
            "max_tokens=99999999 is more than this model can write: 62 tokens",
        ),
        (["--text", "en-de=dev.tsv", "--task", "de-en"], "there is no text of de-en to prove the export with"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_written(
    export: Export, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert export(model, *words, "-o", "out") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["dev.tsv"]
