from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metric import Metric, mean_score, mean_statistics
from neuronspec.evaluation.metrics import METRICS, find_scoring
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import open_metrics, score, score_task
from neuronspec.statistics.numbers import FloatArray

REFERENCES = ["The cat sat on the mat.", "A dog ran far away.", "Nobody was at home."]
WORSE = ["The cat sat on a mat.", "A dog ran away.", "Nobody was home."]
SOURCES = ["Die Katze saß auf der Matte.", "Ein Hund lief weit weg.", "Niemand war zu Hause."]


def score_system(system: str, task: str, hypotheses: list[str], references: list[str] = REFERENCES) -> Results:
    with open_metrics(["bleu", "chrf", "ter"]) as metrics:
        return score_task(
            system, task, hypotheses, references, metrics, sources=SOURCES[: len(references)], zero_shot=task == "de-fr"
        )


@pytest.fixture
def results() -> Results:
    parts = [
        score_system(system, task, lines)
        for system, lines in (("base", WORSE), ("ours", REFERENCES))
        for task in ("de-en", "de-fr")
    ]
    return merge_results(parts)


def test_scores_are_sacrebleus_and_the_statistics_give_them_back(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    loaded = Results.load(tmp_path)
    assert loaded.scores == results.scores
    assert loaded.qualities == results.qualities
    assert (loaded.systems, loaded.tasks) == (["base", "ours"], ["de-en", "de-fr"])
    assert loaded.metrics == ["BLEU", "chrF++", "TER"]
    assert loaded.zero_shot == {"de-fr"}
    for name, golden in (
        ("BLEU", sacrebleu.BLEU()),
        ("chrF++", sacrebleu.CHRF(word_order=2)),
        ("TER", sacrebleu.TER()),
    ):
        expected = golden.corpus_score(WORSE, [REFERENCES]).score
        assert loaded.score("base", name, ["de-en"]) == pytest.approx(expected, abs=1e-9)
        rows = loaded.statistics("base", name, "de-en")
        np.testing.assert_array_equal(rows, results.statistics("base", name, "de-en"))
        assert float(find_scoring(name).score(rows.sum(axis=0))) == pytest.approx(expected, abs=1e-9)


def test_means_are_over_all_tasks_or_none(results: Results) -> None:
    assert results.score("ours", "BLEU", ["de-en", "de-fr"]) == pytest.approx(100)
    assert math.isnan(results.score("ours", "BLEU", ["de-en", "en-de"]))
    assert math.isnan(results.score("ours", "BLEU", []))


def test_one_system_is_taken_out_under_another_name(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    alone = Results.load(tmp_path).select("ours", "best")
    assert alone.systems == ["best"]
    assert {quality.system for quality in alone.qualities} == {"best"}
    np.testing.assert_array_equal(alone.statistics("best", "TER", "de-fr"), results.statistics("ours", "TER", "de-fr"))
    with pytest.raises(NeuronspecError, match=r"no system 'our' \(did you mean 'ours'\?\); there are base, ours"):
        results.select("our")


def test_results_that_do_not_compare_are_not_merged(results: Results) -> None:
    with pytest.raises(NeuronspecError, match="two results of base on de-en: give them other names"):
        merge_results([results, results])
    other = score_system("new", "de-en", WORSE, [*REFERENCES[:2], "Nobody was at home!"])
    with pytest.raises(NeuronspecError, match="base and new were scored against different references of de-en"):
        merge_results([results, other])
    shorter = score_system("new", "de-en", WORSE[:2], REFERENCES[:2])
    with pytest.raises(NeuronspecError, match=r"de-en \(3 and 2 sentences\)"):
        merge_results([results, shorter])


@pytest.mark.parametrize("name", ["", " ", "a\x1b[2Jb", "x" * 401])
def test_a_name_that_nobody_can_read_cannot_name_a_system(name: str) -> None:
    with pytest.raises(NeuronspecError, match="cannot name a system"):
        score_system(name, "de-en", WORSE)


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b", "../../etc"])
def test_any_other_name_of_a_system_stays_in_the_directory_of_the_results(name: str, tmp_path: Path) -> None:
    found = score_system(name, "de-en", WORSE)
    directory = tmp_path / "results"
    directory.mkdir()
    found.save(directory)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    [statistics] = directory.rglob("*.safetensors")
    assert statistics.parent.parent == directory / "statistics"
    loaded = Results.load(directory)
    assert (loaded.systems, loaded.scores) == ([name], found.scores)
    assert loaded.statistics(name, "BLEU", "de-en").tolist() == found.statistics(name, "BLEU", "de-en").tolist()


def test_damaged_results_are_refused(results: Results, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="does not exist; give the directory of a finished run"):
        Results.load(tmp_path)
    results.save(tmp_path)
    file = tmp_path / "statistics" / "base" / "de-en.safetensors"
    for content in (b"", b"rubbish", file.read_bytes()[:-5]):
        file.write_bytes(content)
        with pytest.raises(NeuronspecError, match="cannot read the statistics of BLEU from"):
            Results.load(tmp_path).statistics("base", "BLEU", "de-en")
    file.unlink()
    with pytest.raises(NeuronspecError, match="score the system again"):
        Results.load(tmp_path).statistics("base", "BLEU", "de-en")
    scores = tmp_path / "scores.jsonl"
    first, *rest = scores.read_text().splitlines()
    values = json.loads(first)
    changes: list[dict[str, object]] = [{"odd": 1}, {"score": "50"}, {"score": None}, {"score": float("inf")}]
    changes += [{"score": True}, {"task": 3}, {"zero_shot": "false"}, {"sentences": 2.5}, {"metric": ["BLEU"]}]
    for line in ("{", '{"system": "x"}', "[1]", "3", *(json.dumps(values | change) for change in changes)):
        scores.write_text("\n".join([first, line, *rest]))
        with pytest.raises(NeuronspecError, match=r"scores.jsonl:2 is damaged"):
            Results.load(tmp_path)


class Rated(Metric):
    """A metric that gives each sentence a number, as COMET does."""

    def signature(self, target_language: str) -> str:
        return "rated"

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str,
        sources: Sequence[str] | None = None,
    ) -> FloatArray:
        assert sources == SOURCES
        return mean_statistics([-0.5, 0.25, 1 / 3])


def test_a_metric_of_single_sentences_is_kept_exactly(tmp_path: Path) -> None:
    found = score_task("s", "de-en", WORSE, REFERENCES, [Rated("COMET", True, mean_score)], sources=SOURCES)
    found.save(tmp_path)
    assert Results.load(tmp_path).statistics("s", "COMET", "de-en")[:, 0].tolist() == [-0.5, 0.25, 1 / 3]
    assert found.score("s", "COMET", ["de-en"]) == pytest.approx((-0.25 + 1 / 3) / 3)


def test_without_sources_copies_are_not_told() -> None:
    found = score_task("s", "de-en", ["", *WORSE[1:]], REFERENCES, [METRICS["bleu"]])
    assert found.qualities[0].copied is None
    assert found.qualities[0].empty == pytest.approx(1 / 3)


@given(values=st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_counts_of_any_size_are_kept_exactly(values: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("counts")
    rows = np.array(values, dtype=np.float64)[:, None]
    base = score_system("s", "de-en", WORSE).select("s")
    replace(base, counted={("s", "de-en"): {"BLEU": rows}}).save(folder)
    np.testing.assert_array_equal(Results.load(folder).statistics("s", "BLEU", "de-en"), rows)


def test_lines_that_contradict_each_other_are_refused(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    scores = tmp_path / "scores.jsonl"
    first, *rest = scores.read_text().splitlines()
    for changes, found in (
        ({"score": 3.0}, "two results of base on de-en"),
        ({"task": "nowhere"}, "unknown direction 'nowhere'"),
        ({"system": "new", "signature": "tok:char"}, "were scored in different ways on de-en: .* and tok:char"),
        ({"system": "new", "sentences": 2}, "different references of de-en"),
    ):
        scores.write_text("\n".join([first, *rest, json.dumps(json.loads(first) | changes)]))
        with pytest.raises(NeuronspecError, match=found):
            Results.load(tmp_path)
    scores.write_text("")
    with pytest.raises(NeuronspecError, match=r"scores.jsonl is empty"):
        Results.load(tmp_path)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_where_they_are_read_and_made(
    results: Results, tmp_path: Path, broken: float
) -> None:
    rows = np.array([[1.0, 2.0], [broken, 2.0]])
    replace(results, counted={("base", "de-en"): {"BLEU": rows}}).save(tmp_path)
    with pytest.raises(NeuronspecError, match=r"statistics of BLEU in .*de-en.safetensors hold NaN or infinity"):
        Results.load(tmp_path).statistics("base", "BLEU", "de-en")

    class Broken(Metric):
        def statistics(self, *_: object) -> FloatArray:
            return np.ones((3, 1))

        def signature(self, target_language: str) -> str:
            return ""

    metric = Broken("broken", True, lambda rows: np.asarray(broken + 0 * rows[..., 0]))
    with pytest.raises(NeuronspecError, match=r"the broken score of ours on de-en is -?(nan|inf), not a number"):
        score_task("ours", "de-en", WORSE, REFERENCES, [metric])
    with pytest.raises(NeuronspecError, match="the broken score is"):
        score(WORSE, REFERENCES, "en", [metric])


def test_scores_that_are_no_numbers_are_refused(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    scores = tmp_path / "scores.jsonl"
    first, *rest = scores.read_text(encoding="utf-8").splitlines()
    for value in ("NaN", "Infinity", "null", "true", '"9"'):
        changed = json.dumps(json.loads(first) | {"score": "here"}).replace('"here"', value)
        scores.write_text("\n".join([changed, *rest]), encoding="utf-8")
        with pytest.raises(NeuronspecError, match=r"scores.jsonl:1 is damaged: score is"):
            Results.load(tmp_path)


def test_references_of_nothing_are_refused() -> None:
    with pytest.raises(NeuronspecError, match="all 2 references of de-en are empty"):
        score_task("ours", "de-en", ["a", "b"], ["", "\u200b"], [METRICS["bleu"]])
    with pytest.raises(NeuronspecError, match="all 1 references are empty"):
        score(["a"], [" "], "de")


def test_results_from_before_notes_are_read(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    path = tmp_path / "quality.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps({**line, "off_target_note": ""}) + "\n" for line in lines), encoding="utf-8")
    noted = Results.load(tmp_path).qualities
    for line in lines:
        line.pop("off_target_note")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert Results.load(tmp_path).qualities == noted


def test_metrics_of_one_system_that_were_scored_apart_are_refused() -> None:
    with open_metrics(["bleu"]) as bleu, open_metrics(["chrf"]) as chrf:
        parts = [score_task("ours", "en-de", REFERENCES, REFERENCES, metrics) for metrics in (bleu, chrf)]
    with pytest.raises(NeuronspecError, match=r"two results of ours on en-de: .* or score all metrics at once"):
        merge_results(parts)


def test_a_metric_is_opened_once_whether_it_is_given_by_name_or_not() -> None:
    with open_metrics(["bleu", METRICS["bleu"], METRICS["chrf"], "chrf"]) as metrics:
        assert metrics == [METRICS["bleu"], METRICS["chrf"]]


ODD = ("a\ttab", "a line\u2028separator\x85", "\u202eturned", '"quotes" \\', "", "<b>", "\r")


@pytest.mark.parametrize("sources", [ODD[::-1], None])
def test_translations_are_kept_as_they_are(sources: tuple[str, ...] | None, tmp_path: Path) -> None:
    results = score_task("a:b/c", "de-en", ODD, ["ref", *ODD[1:]], [METRICS["chrf"]], sources=sources)
    results.save(tmp_path)
    found = Results.load(tmp_path).select("a:b/c", "renamed").read_outputs("renamed", "de-en")
    assert found is not None
    assert (found.hypotheses, found.references, found.sources) == (ODD, ("ref", *ODD[1:]), sources)


def test_translations_are_left_out_where_they_are_kept_elsewhere(tmp_path: Path) -> None:
    results = score_task("a", "de-en", ["x"], ["x"], [METRICS["chrf"]])
    results.save(tmp_path, translations=False)
    loaded = Results.load(tmp_path)
    assert loaded.read_outputs("a", "de-en") is None
    assert loaded.scores == results.scores
