"""No verb that writes where the user says writes among the results of a run unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command import run_command

from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks

WRITING = {
    "select": ["select", "masks", "--to"],
    "composed": ["select", "masks", "--compose", "de-fr", "--to"],
    "sentence": ["translate", "--model", "model", "de-en", "das Haus", "--to"],
    "grid": ["translate", "--model", "model", "de", "en", "--input", "text.{src}", "--to"],
    "record": ["record", "--model", "model", "--text", "de-en=text.tsv", "--out"],
    "analyze": ["analyze", "masks", "--out"],
    "compare": ["compare", "scores", "--out"],
    "score": ["score", "-t", "out.{task}", "-r", "text.{tgt}", "--out"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run, next to masks and text."""
    monkeypatch.chdir(tmp_path)
    for file in ("run/stages/config.yaml", "run/translate/fine_tune/de-en.txt", "ks/sweep.yaml", "model/config.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("name: mine\n", encoding="utf-8")
    for side in ("de", "en"):
        (tmp_path / f"text.{side}").write_text("das Haus\n", encoding="utf-8")
    (tmp_path / "out.de-en").write_text("the house\n", encoding="utf-8")
    (tmp_path / "text.tsv").write_text("das Haus\tthe house\n", encoding="utf-8")

    layer = {"decoder.0": [True, False]}
    NeuronMasks.from_dict(dict.fromkeys(("de-en", "en-de", "fr-en", "en-fr"), layer)).save_pretrained("masks")
    (tmp_path / "link").symlink_to("run/train")
    return tmp_path / "run"


def list_files(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", WRITING)
@pytest.mark.parametrize("target", ["run/train/fine_tune/model", "run", "ks/new", "link/model"])
def test_a_place_within_a_run_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], verb: str, target: str
) -> None:
    before = list_files(place.parent)
    path = f"{target}/{{task}}.txt" if verb == "grid" else target
    assert run_command(*WRITING[verb], path) == 2
    said = capsys.readouterr().err
    assert ": choose another --" in said
    assert "holds the results of a run" in said
    assert ("--force" in said) == (verb != "sentence")
    assert list_files(place.parent) == before


def test_a_finished_translation_is_not_overwritten_by_a_sentence(place: Path) -> None:
    file = place / "translate/fine_tune/de-en.txt"
    assert run_command(*WRITING["sentence"], str(file)) == 2
    assert file.read_text(encoding="utf-8") == "name: mine\n"


def test_with_force_it_is_written(place: Path) -> None:
    target = place / "train/fine_tune/model"
    assert run_command(*WRITING["select"], str(target), "--force") == 0
    assert (target / MASKS_FILE).is_file()
