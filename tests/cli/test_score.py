from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu

from neuronspec.cli.main import main

Score = Callable[..., int]
LINES = (["The cat sat on the mat.", "A dog ran away."], ["The cat sat on a mat.", "A dog ran far away."])


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Score:
    """Call `neuronspec score` in a folder with the files `hyp` and `ref`; return its exit code."""
    for name, lines in zip(("hyp", "ref"), LINES, strict=True):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["neuronspec", "score", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return left.value.code

    return call


def test_files_are_scored_as_sacrebleu_does(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("-t", "hyp", "-r", "ref", "-l", "en", "--json", "-m", "bleu", "-m", "chrf", "-m", "ter") == 0
    found = json.loads(capsys.readouterr().out)
    metrics = [sacrebleu.BLEU(), sacrebleu.CHRF(word_order=2), sacrebleu.TER()]
    for one, metric in zip(found, metrics, strict=True):
        assert one["value"] == pytest.approx(metric.corpus_score(LINES[0], [LINES[1]]).score)
        assert one["signature"] == str(metric.get_signature())
        assert one["sentences"] == 2


def test_a_line_for_each_metric_with_its_signature(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("-t", "ref", "-r", "ref", "-l", "de") == 0
    said = capsys.readouterr()
    bleu, chrf = said.out.splitlines()
    assert bleu.startswith("BLEU 100.0  nrefs:1|case:mixed|eff:no|tok:13a|")
    assert chrf.startswith("chrF++ 100.0  nrefs:1|")
    assert said.err == ""


def test_compressed_files_are_read(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open("ref.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in LINES[1])
    assert score("-t", "ref", "-r", "ref.gz", "-l", "de", "-m", "chrf") == 0
    assert capsys.readouterr().out.startswith("chrF++ 100.0")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["-t", "hyp", "-r", "ref"], "error: give a configuration, or --translations FILE --references FILE"),
        (["-t", "hyp", "-l", "en"], "error: hyp holds no references: give a configuration, or --references FILE"),
        (["-t", "hyp", "-r", "ref", "-l", "en", "-m", "blue"], "error: unknown metric 'blue' (did you mean 'bleu'?)"),
        (
            ["-t", "hyp", "-r", "short", "-l", "en"],
            "hyp has 2 sentences, but short has 1 line",
        ),
        (["-t", "empty", "-r", "empty", "-l", "en"], "error: empty is empty; expected one sentence a line"),
        (["-t", "none", "-r", "ref", "-l", "en"], "does not"),
        (["nope"], "error: no configuration 'nope'"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    score: Score, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    Path("short").write_text("one line\n", encoding="utf-8")
    Path("empty").touch()
    assert score(*arguments) == 2
    said = capsys.readouterr()
    assert found in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_fairseq_log_holds_its_references(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    def marked(line: str) -> str:
        return "▁" + line.replace(" ", " ▁")

    log = [f"S-{n}\t__en__ ▁x ▁y\nT-{n}\t{marked(LINES[1][n])}\nH-{n}\t-0.5\t{marked(LINES[0][n])}\n" for n in (1, 0)]
    Path("generate-test.txt").write_text("".join(log), encoding="utf-8")
    assert score("-t", "generate-test.txt", "-l", "en", "--json", "-m", "bleu") == 0
    bleu, quality = json.loads(capsys.readouterr().out)
    assert bleu["value"] == pytest.approx(sacrebleu.BLEU().corpus_score(LINES[0], [LINES[1]]).score)
    assert quality["quality"]["sentences"] == 2


def test_broken_translations_are_counted_where_the_sources_are_given(
    score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sources").write_text("Ich sehe heute einen Hund.\nDas ist gut.\n", encoding="utf-8")
    Path("copies").write_text("Ich sehe heute einen Hund.\n\n", encoding="utf-8")
    Path("right").write_text("I see a dog today.\nThis is good.\n", encoding="utf-8")
    assert score("-t", "copies", "-r", "right", "-s", "sources", "-l", "en", "-m", "chrf") == 0
    said = capsys.readouterr().out
    assert "copied 50.0 %" in said
    assert "empty 50.0 %" in said
    assert "off-target: cannot be told" in said


def test_references_that_look_tokenised_are_told(score: Score, caplog: pytest.LogCaptureFixture) -> None:
    line = "The well @-@ known man &apos;s dog , it is said , barks .\n"
    Path("tokenised").write_text(line * 3, encoding="utf-8")
    assert score("-t", "tokenised", "-r", "tokenised", "-l", "en") == 0
    assert "the references look tokenised" in caplog.text
