from __future__ import annotations

import csv
from pathlib import Path

import pytest

from neuronspec.comparison.study import Study, compare_study, make_study
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import score_task
from neuronspec.figures.score_figures import draw_score_figures

TASKS = ("en-de", "en-lb", "de-en", "lb-en")
UNSEEN = ("de-lb", "lb-de")
GOOD = [f"the cat number {n} sat on the mat and slept" for n in range(12)]
WORSE = [line.replace("sat on", "stood beneath") for line in GOOD]
WORST = [line.replace("and slept", "or drank") for line in WORSE]


def score(systems: dict[str, list[str]], tasks: tuple[str, ...], metrics: tuple[str, ...] = ("bleu",)) -> Results:
    return merge_results(
        score_task(system, task, lines, GOOD, [METRICS[one] for one in metrics], zero_shot=task in UNSEEN)
        for system, lines in systems.items()
        for task in tasks
    )


def study(results: Results) -> Study:
    return compare_study(make_study(results, "base", trials=200))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def scored() -> Study:
    return study(score({"base": WORSE, "ours": GOOD, "less": WORST}, (*TASKS, *UNSEEN), ("bleu", "chrf")))


def test_gains_are_differences_of_scores(scored: Study, tmp_path: Path) -> None:
    drawn = draw_score_figures(scored, tmp_path)
    assert list(drawn) == ["gains.bleu", "zero-shot.bleu", "gains.chrf++", "zero-shot.chrf++"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{n}.{end}" for n in drawn for end in ("svg", "png", "csv", "pdf")
    }
    results = scored.results
    for metric, name in (("BLEU", "gains.bleu"), ("chrF++", "gains.chrf++")):
        rows = read(tmp_path / f"{name}.csv")
        assert len(rows) == 2 * len(results.tasks)
        for row in rows:
            system = row["system"].removesuffix(" over base")
            gain = results.score(system, metric, [row["task"]]) - results.score("base", metric, [row["task"]])
            assert float(row["gain"]) == pytest.approx(gain)
            assert (
                row["group"] == {"en": "from en", "de": "to en", "lb": "to en"}[row["task"][:2]]
                or row["task"] in UNSEEN
            )
            assert row["mark"] == scored.mark(system, metric, row["task"])
        assert {row["mark"] for row in rows if row["system"].startswith("ours")} == {"↑"}
        assert {row["mark"] for row in rows if row["system"].startswith("less")} == {"↓"}


def test_a_system_can_be_compared_with_another_than_the_baseline(scored: Study, tmp_path: Path) -> None:
    draw_score_figures(scored, tmp_path, {"ours": "less"})
    rows = read(tmp_path / "gains.bleu.csv")
    assert {row["system"] for row in rows} == {"ours over less"}
    results = scored.results
    assert float(rows[0]["gain"]) == pytest.approx(
        results.score("ours", "BLEU", [rows[0]["task"]]) - results.score("less", "BLEU", [rows[0]["task"]])
    )
    assert {row["mark"] for row in rows} == {""}  # which was not tested


def test_unseen_directions_are_grouped_by_the_level_of_their_target(scored: Study, tmp_path: Path) -> None:
    draw_score_figures(scored, tmp_path)
    rows = {(row["group"], row["system"]): row for row in read(tmp_path / "zero-shot.bleu.csv")}
    groups = {"to high": ["lb-de"], "to low": ["de-lb"], "all": [*UNSEEN]}
    assert {group for group, _ in rows} == set(groups)
    for (group, system), row in rows.items():
        assert int(row["directions"]) == len(groups[group])
        assert float(row["mean"]) == pytest.approx(scored.results.score(system, "BLEU", groups[group]))


def test_what_there_is_nothing_of_is_not_drawn(tmp_path: Path) -> None:
    assert draw_score_figures(study(score({"base": WORSE}, TASKS)), tmp_path) == {}
    assert list(draw_score_figures(study(score({"base": WORSE, "ours": GOOD}, TASKS)), tmp_path)) == ["gains.bleu"]
    assert list(draw_score_figures(study(score({"base": WORSE}, UNSEEN)), tmp_path)) == ["zero-shot.bleu"]


def test_a_direction_that_a_system_lacks_has_no_gain(tmp_path: Path) -> None:
    results = merge_results([score({"base": WORSE}, TASKS), score({"ours": GOOD}, TASKS[1:])])
    draw_score_figures(study(results), tmp_path)
    assert [row["task"] for row in read(tmp_path / "gains.bleu.csv")] == [*TASKS[1:]]
