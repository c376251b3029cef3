"""`neuronspec check`: runs, models, masks, counts and text, each in the order of a user."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import run_command
from tests.models.tokenizers import make_nllb
from tests.pipeline.conftest import write_project
from transformers import M2M100Config, M2M100ForConditionalGeneration

import neuronspec as ns
from neuronspec.evaluation.identifiers import IDENTIFIERS, Identifier
from neuronspec.neurons.counts import ActivationCounts

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe with its corpora, and a small model of NLLB's family."""
    folder = tmp_path_factory.mktemp("checked")
    write_project(folder)
    # Masks and counts fit it: a layer in each stack.
    sizes: dict[str, Any] = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_layers", "decoder_layers"), 1) | dict.fromkeys(
        ("encoder_ffn_dim", "decoder_ffn_dim"), 8
    )
    tokenizer = make_nllb(folder)
    config = M2M100Config(d_model=16, vocab_size=len(tokenizer), decoder_start_token_id=2, **sizes)
    M2M100ForConditionalGeneration(config).save_pretrained(folder / "nllb")
    tokenizer.save_pretrained(folder / "nllb")
    totals = {stack: torch.tensor([5]) for stack in ("encoder", "decoder")}
    values = {layer: torch.ones((1, 8), dtype=torch.int64) for layer in ("encoder.0", "decoder.0")}
    counts = ActivationCounts(tasks=("de-en",), values=values, totals=totals, unit="sentence")
    counts.save(folder / "counts")
    ns.NeuronMasks.from_counts(counts, k=0.5).save_pretrained(folder / "masks")
    return folder


@pytest.fixture
def checked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Call `neuronspec check ... --json`; return its exit code and what it found."""
    monkeypatch.chdir(project)

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run_command("check", *arguments, "--json")
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, found

    return call


def subjects(found: dict[str, Any], level: str) -> set[str]:
    return {problem["subject"] for problem in found["problems"] if problem["level"] == level}


def test_people_see_facts_then_problems_with_fixes_then_an_estimate(start: Start, project: Path) -> None:
    before = sorted(project.rglob("*"))
    done = start(project, "check", "toy.yaml", "--seconds", "0.1", "train.warmup=4000")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["configuration toy.yaml", "  directions: en-de, en-sv, de-en, sv-en"]
    assert "│ en-de │ 191   │ 17    │ 20   │" in done.stdout
    place = lines.index(
        "! warning: train.warmup is 4000 for 16 updates: the learning rate only reaches 0.4 % of its peak"
    )
    assert lines[place + 1] == "    fix: train.warmup=2"
    assert lines[-1].startswith("estimated: about ")
    assert "measured in" in lines[-1]
    assert sorted(project.rglob("*")) == before  # nothing is written


def test_a_configuration_full_of_mistakes_has_all_of_them_named(
    checked: Callable[..., tuple[int, dict[str, Any]]], project: Path
) -> None:
    mistakes = (
        *("languages=[de, sv, it]", "device=mps", "analyze.distances={mine: nowhere.csv}"),
        *("train.warmup=16", "continued.decay=1", "continued.warmup=7", "translate.max_tokens=4"),
        *("prepare.vocabulary.size=5000", "sampling.max_tokens=8", "zero_shot=[de-sv]", "train.updates=100000"),
    )
    code, found = checked("toy.yaml", *mistakes, "--no-measure")
    assert code == 2
    assert subjects(found, "error") >= {"device", "analyze.distances.mine", "data.train", "sampling.max_tokens"}
    assert subjects(found, "warning") >= {"continued.decay", "translate.max_tokens", "prepare.vocabulary.size"}
    assert "train.updates" in subjects(found, "note")
    missing = [problem["message"] for problem in found["problems"] if "does not exist" in problem["message"]]
    assert [sum("corpus.it.tsv" in line for line in missing), len(missing)] == [1, 2]
    assert found["estimate"]["seconds"] is None


def test_the_fixes_of_a_configuration_fix_it(checked: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    _, found = checked("toy.yaml", "train.warmup=20", "translate.max_tokens=4", "--no-measure")
    fixes = [problem["fix"] for problem in found["problems"] if problem["level"] == "warning"]
    assert len(fixes) == 3
    code, fixed = checked("toy.yaml", *(fix.removesuffix(" or less") for fix in fixes), "--no-measure")
    assert code == 0
    assert subjects(fixed, "warning") == set()


def test_every_run_of_a_sweep_is_checked(checked: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, found = checked("toy.yaml", "train.warmup=[2,40]", "--no-measure")
    assert (code, found["facts"]["runs"]) == (0, ["train.warmup=2", "train.warmup=40"])
    assert "train.warmup" in subjects(found, "warning")
    problems = ns.check("toy.yaml", {"train.warmup": [2, 40]})
    assert [problem.as_dict() for problem in problems] == found["problems"]


def test_zero_shot_directions_without_test_text_are_a_warning(
    checked: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    for language, line in (("de", "the cat sees\tdas Katze sieht"), ("sv", "the dog likes\tden hund gillar")):
        (tmp_path / f"{language}.tsv").write_text(f"{line}\n", encoding="utf-8")
    test = (f"data.test=[{{path: '{tmp_path}/{{lang}}.tsv'}}]", "data.hold_out.test=0")
    code, found = checked("toy.yaml", "zero_shot=all", *test, "--no-measure")
    assert code == 0
    [warning] = [problem for problem in found["problems"] if problem["subject"] == "zero_shot"]
    assert warning["message"].startswith("without test text, and left out: de-sv, sv-de;")


def test_a_pretrained_model_of_a_run_is_checked_with_its_text(
    checked: Callable[..., tuple[int, dict[str, Any]]],
) -> None:
    changes = ("model={pretrained: nllb}", "languages=[de, tlh]", "continued.updates=8")
    code, found = checked("toy.yaml", *changes, "--no-measure")
    assert code == 2
    assert found["facts"]["tags"] == {"en": "eng_Latn", "de": "deu_Latn"}
    assert subjects(found, "error") >= {"en-tlh", "tlh-en", "data.train"}
    assert {"text of de", "text of en"} <= subjects(found, "warning")  # most letters are unknown to it


def test_a_model_is_checked_with_languages_and_text(
    checked: Callable[..., tuple[int, dict[str, Any]]], project: Path
) -> None:
    code, found = checked("nllb", "--languages", "de,sv")
    assert (code, found["kind"], found["facts"]["neurons"]) == (0, "model", 16)
    assert found["facts"]["tags"] == {"de": "deu_Latn", "sv": "swe_Latn"}
    (project / "odd.tsv").write_text("a b 猫\tb a\n" * 3, encoding="utf-8")
    _, found = checked("nllb", "--text", "de-en=odd.tsv", "--sample", "2")
    assert found["sentences"] == {"de-en": {"test": "over 2"}}
    assert "from the characters 猫" in str(found["problems"])

    # A table of more columns, under a name that shows no format
    (project / "odd.txt").write_text("0.9\tb a\ta b\n" * 3, encoding="utf-8")
    _, found = checked("nllb", "--text", "de-en=odd.txt", "--format", "tsv", "--columns", "3,2")
    assert found["sentences"] == {"de-en": {"test": "3"}}
    code, found = checked("nllb", "--languages", "tlh")
    assert (code, subjects(found, "error")) == (2, {"tlh-en", "en-tlh"})


def test_masks_and_counts_are_checked_alone_and_with_a_model(
    checked: Callable[..., tuple[int, dict[str, Any]]],
) -> None:
    code, found = checked("masks", "--model", "nllb")
    assert (code, found["kind"], found["facts"]["tasks"]) == (0, "masks", ["de-en"])
    code, found = checked("counts")
    assert (code, found["kind"], subjects(found, "warning")) == (0, "counts", {"counts"})


def test_files_of_text_are_checked_as_they_are_found(
    checked: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    for name in ("train", "test"):
        text = "".join(f"the cat sees number {n}\tdie Katze sieht Nummer {n}\n" for n in range(150))
        (tmp_path / f"{name}.de.tsv").write_text(text, encoding="utf-8")
    code, found = checked(str(tmp_path), "--model", "nllb")
    assert (code, found["kind"]) == (0, "data")
    assert found["sentences"] == {"en-de": {"train": "150", "test": "150"}}
    [leak] = [problem for problem in found["problems"] if problem["subject"] == "test text"]
    assert leak["message"].startswith("150 of 150 test pairs have a sentence that is also in the training text")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml"], "no configuration 'missing.yaml'"),
        (["masks", "train.updates=3"], "masks is no configuration: train.updates=3 changes nothing in it"),
        (["nllb", "--text", "odd.tsv"], "expected TASK=FILE"),
        (["nllb", "--columns", "2,3"], "--columns changes nothing without --text"),
        (["nllb", "--text", "de-en=odd.tsv", "--format", "tvs"], "did you mean 'tsv'"),
        (["toy.yaml", "--model", "nllb"], "--model: toy.yaml is a configuration, which names its model"),
        (["toy.yaml", "train.update=3"], "unknown key train.update (did you mean 'updates'?)"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(project)
    assert run_command("check", *arguments) == 2
    assert said in capsys.readouterr().err


def test_python_returns_the_problems(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    first, *_ = ns.check("toy.yaml", {"train.warmup": 4_000})
    assert (first.level, first.fix) == ("warning", "train.warmup=2")
    assert [problem.subject for problem in ns.check("counts", model="nllb")] == ["counts"]
    with pytest.raises(ns.NeuronspecError, match="is no configuration: x changes nothing"):
        ns.check("masks", {"x": 1})


def test_text_is_judged_by_the_identifier_that_is_named(
    checked: Callable[..., tuple[int, dict[str, Any]]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IDENTIFIERS, "_entries", dict(IDENTIFIERS._entries))
    labels = ("de", "en", "sv", "fr")
    IDENTIFIERS.register("french")(Identifier(load=lambda: (lambda text: "fr", labels), version="1"))

    table = project / "corpora" / "de-en.tsv"
    table.parent.mkdir(exist_ok=True)
    german, english = (
        "Ein ziemlich langer Satz mit genug Buchstaben",
        "A rather long sentence with letters enough in it",
    )
    table.write_text("".join(f"{german}, {number}.\t{english}, {number}.\n" for number in range(30)), encoding="utf-8")
    _, found = checked(str(table))
    assert "another language" not in json.dumps(found)
    _, found = checked(str(table), "--identifier", "french")
    assert "look like another language, most often fr" in json.dumps(found)
