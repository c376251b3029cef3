"""Typical mistakes of newcomers: one sentence each, that names the mistake and how to fix it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest
from tests.command import run_command

from neuronspec.artifacts import hub

RECIPE = """
languages: [de]
data: {train: [{path: "corpus.{lang}.tsv"}], hold_out: {valid: 0.1, test: 0.1}}
model: {preset: tiny}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what newcomers have in theirs."""
    monkeypatch.chdir(tmp_path)
    texts = {
        "my.yaml": RECIPE,
        "tabs.yaml": "name: x\ntrain:\n\tupdates: 5\n",
        "list.yaml": RECIPE.replace("[de]", "de"),
        "my.json": json.dumps({"languages": ["de"], "data": {}}),
        "news.de": "Guten Morgen.\nGute Nacht.\n",
        "news.en": "Good morning.\nGood night.\n",
        "short.en": "Good morning.\n",
        "empty.en": "",
        "one.tsv": "nur eine Spalte\n",
        "two.tsv": "Guten Morgen.\tGood morning.\n",
        "news.csv": "Guten Morgen.,Good morning.\n",
    }
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("news.pdf").write_bytes(b"%PDF-1.7\n\xe2\xe3\xcf\xd3")
    Path("news.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    for name, member in (
        ("news.docx", "word/document.xml"),
        ("news.xlsx", "xl/workbook.xml"),
        ("de-en.tmx.zip", "a.tmx"),
    ):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(member, "<x/>")

    # A model without weights is enough for what is refused before it is loaded.
    for folder in ("models/mine", "run/train/pretrained/model", "run/stages", "run/select", "run/record", "counts"):
        Path(folder).mkdir(parents=True)
    for folder in ("models/mine", "run/train/pretrained/model"):
        Path(folder, "config.json").write_text("{}", encoding="utf-8")
    Path("run/stages/config.yaml").write_text(RECIPE, encoding="utf-8")
    Path("run/select/neuron_masks.safetensors").write_bytes(b"")
    Path("counts/activation_counts.safetensors").write_bytes(b"")


TRANSLATE = ("translate", "--model", "models/mine")
RECORD = ("record", "--model", "models/mine", "--text")
MISTAKES: list[tuple[tuple[str, ...], str]] = [
    # Directions
    (
        (*TRANSLATE, "Guten Tag."),
        "'Guten Tag.' is no direction; expected two languages joined by a hyphen, such as "
        "'de-en'; the direction comes before the sentences",
    ),
    ((*TRANSLATE, "Hallo"), "'Hallo' is no direction"),
    ((*TRANSLATE, "de", "Hallo"), "'de' is one language, German, not a direction"),
    ((*TRANSLATE, "de_en", "Hallo"), "'de_en' is no direction (did you mean 'de-en'?)"),
    ((*TRANSLATE, "de->en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de → en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de:en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de/en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de2en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de–en", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "german-english", "Hallo"), "names languages by words, not by their codes (did you mean 'de-en'?)"),
    ((*TRANSLATE, "German to English", "Hallo"), "(did you mean 'de-en'?)"),
    ((*TRANSLATE, "de-en-fr", "Hallo"), "'de-en-fr' names three languages; expected two, such as 'de-en'"),
    (("translate", "de-en", "Hallo"), "'de-en' is no configuration; to translate sentences, give a model"),
    (("translate", "Guten Tag."), "to translate sentences, give a model: neuronspec translate --model DIR"),
    (TRANSLATE, "neuronspec translate --model models/mine en-de"),
    ((*TRANSLATE, "de", "en", "-i", "news.{src}"), "is for a grid: write {task} in --to, too"),
    # Models
    (("translate", "--model", "runs/demo/model", "de-en", "x"), "runs does not exist (did you mean 'run'"),
    (("translate", "--model", "models/nllb", "de-en", "x"), "models/nllb does not exist"),
    (("translate", "--model", "nowhere/", "de-en", "x"), "nowhere is not a model directory"),
    (("translate", "--model", "run", "de-en", "x"), "(did you mean run/train/pretrained/model?)"),
    (("translate", "--model", "models/mine/config.json", "de-en", "x"), "it is a file (did you mean models/mine?)"),
    (("translate", "models/mine", "de-en"), "which is the directory of a model (option --model"),
    (("record", "models/mine"), "which is the directory of a model (option --model"),
    (("record", "--model", "models/nllb", "--text", "de-en=two.tsv"), "models/nllb is not a model directory"),
    # Text
    ((*RECORD, "two.tsv"), "cannot read --text 'two.tsv': expected TASK=FILE, as in de-en=news.tsv"),
    (
        (*TRANSLATE, "de-en", "-i", "news.csv"),
        "news.csv is a table with commas; expected lines of text, or",
    ),
    ((*TRANSLATE, "de-en", "-i", "news.pdf"), "news.pdf is a PDF file; expected plain text in UTF-8"),
    ((*TRANSLATE, "de-en", "-i", "news.doc"), "news.doc is a document or spreadsheet of Microsoft Office"),
    ((*TRANSLATE, "de-en", "-i", "news.docx"), "news.docx is a document of a word processor"),
    ((*TRANSLATE, "de-en", "-i", "news.xlsx"), "news.xlsx is a spreadsheet"),
    ((*TRANSLATE, "de-en", "-i", "de-en.tmx.zip"), "is a zip archive; name a file in it"),
    ((*TRANSLATE, "de-en", "-i", "empty.en"), "empty.en is empty; expected one sentence a line"),
    ((*TRANSLATE, "de-en", "-i", "news.dee"), "news.dee does not exist (did you mean 'news.de'"),
    ((*TRANSLATE, "de-en", "-i", "models"), "cannot read models: Is a directory"),
    # Configurations
    (("run", "tabs.yaml"), "tabs.yaml is not valid YAML: line 3, column 1 holds a TAB; indent with spaces"),
    (("run", "two.tsv"), "two.tsv is not valid YAML: line 1, column 14 holds a TAB"),
    (("run", "news.pdf"), "news.pdf is not valid YAML: it is no text in UTF-8"),
    (("run", "my.json"), "model is missing"),
    (("run", "list.yaml"), "languages: input should be a valid list, not 'de'; write languages=[de]"),
    (("run", "my"), "no configuration 'my' (did you mean 'my.yaml'"),
    (("run", "my.yml"), "no configuration 'my.yml' (did you mean 'my.yaml'"),
    (("run", "models"), "no configuration 'models', which is a directory without a run in it"),
    (("run", "my.yaml", "train.update=500"), "unknown key train.update (did you mean 'updates'?)"),
    (("run", "my.yaml", "updates=500"), "unknown key updates (did you mean 'train.updates' or 'continued.updates'?)"),
    (("run", "my.yaml", "train.updates", "500"), "cannot read the override 'train.updates': expected key=value"),
    (("run", "my.yaml", "score.metrics=bleu"), "write score.metrics=[bleu]"),
    (("run", "my.yaml", "score.metrics=[blue]"), "unknown metric 'blue' (did you mean 'bleu'"),
    (("run", "my.yaml", "method=finetune"), "unknown method 'finetune' (did you mean 'fine_tune'?)"),
    (("prepare", "my.yaml", "--out", "new"), "corpus.de.tsv does not exist"),
    # Masks, scores and comparisons
    (("select", "counts", "k=0.9"), "not k (did you mean 'select.k'?)"),
    (("select", "run/select", "--compare", "run/record", "--to", "x"), "--compare prints a table and writes no masks"),
    (("score", "-t", "news.en", "-r", "news.en"), "missing --language CODE"),
    (("score", "-t", "news.en", "-r", "news.en", "-l", "english"), "(did you mean 'en' for English?)"),
    (
        ("score", "-t", "news.en", "-r", "news.en", "-l", "en", "-m", "blue"),
        "unknown metric 'blue' (did you mean 'bleu'",
    ),
    (("score", "-t", "news.en", "-r", "short.en", "-l", "en"), "news.en has 2 sentences, but short.en has 1 line"),
    (("score", "-t", "news.en", "-r", "news.{tgt}", "-l", "en"), "is for a grid: write {task} in --translations, too"),
    (("score", "-t", "news.csv", "-r", "news.en", "-l", "en"), "news.csv is a table with commas"),
    (("compare", "my.yaml"), "my.yaml holds no results: give the output directory of a finished run"),
    (("compare", "rnu"), "rnu does not exist (did you mean 'run'?)"),
    (("compare", "run"), "give the directory of a finished run"),
]


@pytest.mark.parametrize(("words", "found"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_named_and_nothing_is_written(
    words: tuple[str, ...], found: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run_command(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert found in said.err
    assert "Traceback" not in said.err
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and "new" not in path.parts] == []


@pytest.mark.parametrize("words", [("--update", "500"), ("--train.updates=500",)])
def test_a_key_that_is_written_as_an_option_is_explained(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("run", "my.yaml", *words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "keys of a configuration are written without dashes, as in train.updates=500" in said


def test_the_command_that_makes_a_table_of_one_with_commas_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(*TRANSLATE, "de-en", "-i", "news.csv") == 2
    command = capsys.readouterr().err.partition("TABs: ")[2]
    subprocess.run(command.replace("python ", f"{sys.executable} ", 1), shell=True, check=True)
    assert Path("news.tsv").read_text(encoding="utf-8") == "Guten Morgen.\tGood morning.\n"


def test_a_hub_that_cannot_be_reached_is_asked_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(address: object, **_: object) -> NoReturn:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert run_command("translate", "--model", "somebody/something", "de-en", "Hallo") == 2
    said = capsys.readouterr().err
    assert "there is no such directory here, it was not downloaded before, and the hub cannot be reached" in said
    assert "Retrying" not in said
    assert asked == [("huggingface.co", 443)]
