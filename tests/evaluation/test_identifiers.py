"""Any registered identifier finds off-target translations everywhere, and results of two of them are never mixed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tests.command import run_command

from neuronspec.checking.text import check_text
from neuronspec.checking.text_sample import PairText
from neuronspec.comparison.fair_comparison import compare
from neuronspec.comparison.quality_table import tabulate_quality
from neuronspec.comparison.side_by_side import lay_side_by_side
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import IDENTIFIERS, Identifier, Identify, open_identifier, sign_identifier
from neuronspec.evaluation.quality import assess, find_broken
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import open_metrics, score_task

LONG = " and this goes on until there are enough letters to judge it"
GERMAN, FRENCH = f"deu_Latn{LONG}", f"fra_Latn{LONG}"


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register `first`, whose label is the first word of a text; return the loadings of its model."""
    monkeypatch.setattr(IDENTIFIERS, "_entries", dict(IDENTIFIERS))
    loaded: list[str] = []

    def load() -> tuple[Identify, list[str]]:
        loaded.append("first")
        return lambda text: text.split()[0], ["deu_Latn", "fra_Latn", "gsw_Latn"]

    IDENTIFIERS.register("first")(Identifier(load=load, version="2", accepts={"lb": ["deu_Latn", "gsw_Latn"]}))
    return loaded


def score_two(identifier: str, system: str = "a") -> Results:
    lines = [GERMAN, FRENCH, "short"]
    with open_metrics(["chrf"]) as metrics:
        return score_task(system, "en-de", lines, [GERMAN] * 3, metrics, identifier=identifier)


def test_its_labels_are_codes_in_any_spelling(loads: list[str]) -> None:
    for code in ("de", "deu", "DE"):
        quality = assess([GERMAN, FRENCH, "short"], None, [GERMAN] * 3, code, identifier="first")
        assert (quality.identified, quality.off_target, quality.identifier) == (2, 0.5, "first|version:2")
    assert loads == ["first"]  # once


def test_labels_that_count_can_be_named() -> None:
    lines = [GERMAN, f"gsw_Latn{LONG}", FRENCH]
    found = find_broken(lines, None, [GERMAN] * 3, "ltz", identifier="first")
    assert found["off_target"].tolist() == [False, False, True]


def test_a_language_that_it_lacks_is_unknown_and_no_text_is_no_language() -> None:
    quality = assess([GERMAN], None, [GERMAN], "sw", identifier="first")
    assert (quality.off_target, quality.off_target_note) == (None, "first does not know Swahili")
    assert assess([f"und{LONG}"], None, [GERMAN], "de", identifier="first").identified == 0
    wrong = assess([GERMAN] * 9, None, [FRENCH] * 9, "de", identifier="first")
    assert (wrong.off_target, wrong.off_target_note[:11]) == (None, "first calls")


def test_an_unknown_one_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(NeuronspecError, match=r"unknown language identifier 'frist' \(did you mean 'first'\?\)"):
        sign_identifier("frist")
    with pytest.raises(NeuronspecError, match="unknown language identifier 'other'; known: py3langid, first"):
        open_identifier("other")


def test_verdicts_are_kept_with_the_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_two("first").save(tmp_path)
    results = Results.load(tmp_path)
    assert results.signatures[-1] == "off-target: `first|version:2`"

    # Sentences side by side need no identifier, not even a registered one
    monkeypatch.setattr(IDENTIFIERS, "_entries", {})
    sentences = lay_side_by_side(results, "en-de")
    assert sentences is not None
    assert sentences.systems["a"].broken["off_target"].tolist() == [False, True, False]


def test_comparing_lists_of_sentences_uses_it_and_the_table_names_it() -> None:
    systems = {"a": [GERMAN, FRENCH], "b": [GERMAN, GERMAN]}
    study = compare(systems, [GERMAN] * 2, task="en-de", metrics=["chrf"], trials=100, identifier="first")
    assert [quality.off_target for quality in study.results.qualities] == [0.5, 0.0]
    assert tabulate_quality(study).notes[1] == "Identified by `first|version:2`."


def test_results_of_two_identifiers_or_versions_are_not_compared() -> None:
    first, other = score_two("first"), score_two("py3langid", "b")
    with pytest.raises(NeuronspecError, match=r"languages of a and b on en-de .*: first\|version:2 and py3langid"):
        merge_results([first, other])

    newer = dataclasses.replace(other.qualities[0], identifier="py3langid|version:99", system="c")
    with pytest.raises(NeuronspecError, match="version:99"):
        merge_results([other, dataclasses.replace(score_two("py3langid", "c"), qualities=(newer,))])


def test_results_of_earlier_versions_compare_with_those_of_py3langid_alone() -> None:
    def forget(results: Results) -> Results:
        unsigned = dataclasses.replace(results.qualities[0], identifier="")
        return dataclasses.replace(results, qualities=(unsigned,))

    old = forget(score_two("py3langid", "old"))
    assert merge_results([old, score_two("py3langid")]).systems == ["old", "a"]
    with pytest.raises(NeuronspecError, match=r"old and a on en-de .*: py3langid and first\|version:2"):
        merge_results([old, score_two("first")])
    with pytest.raises(NeuronspecError, match=r"first\|version:2"):
        merge_results([old, score_two("py3langid", "b"), score_two("first")])


def test_the_command_line_and_the_check_of_text_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, lines in (("out.txt", [FRENCH, GERMAN]), ("ref.txt", [GERMAN, GERMAN])):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = ("score", "-t", tmp_path / "out.txt", "-r", tmp_path / "ref.txt", "-l", "de", "--json")
    assert run_command(*words, "--identifier", "first") == 0
    quality = json.loads(capsys.readouterr().out)[-1]["quality"]
    assert (quality["off_target"], quality["identifier"]) == (0.5, "first|version:2")
    assert run_command(*words, "--identifier", "frist") == 2
    assert "did you mean 'first'" in capsys.readouterr().err

    text = PairText(pair="en-de", parts={"train": [(GERMAN, FRENCH)] * 9, "valid": [], "test": []})
    found = [problem.message for problem in check_text([text], identifier="first")]
    assert any("9 of 9 sentences on the de side" in message and "fra_Latn" in message for message in found)
